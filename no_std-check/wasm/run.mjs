// Runs the module given: no host functions but `print`, so it can reach no clock and no randomness.
import { readFileSync } from "node:fs";

const bytes = readFileSync(process.argv[2]);
const print = (at, len) =>
  process.stdout.write(Buffer.from(instance.exports.memory.buffer, at, len));
const { instance } = await WebAssembly.instantiate(bytes, { env: { print } });
process.exitCode = instance.exports.begin();
