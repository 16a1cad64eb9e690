import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.ExtendedSSLSession;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SNIServerName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

/**
 * Nested TLS by two SSLEngines. One line of KEY=VALUE pairs on standard input for each conversation, one such line on
 * standard output.
 */
public final class Peer {
    static final int LIMIT = 60_000;
    static final int PERIOD = 251;
    static final int FULL = 1 << 17;
    static final byte[] PATTERN = new byte[PERIOD * 1024];

    static {
        for (int i = 0; i < PATTERN.length; i++) {
            PATTERN[i] = (byte) (i % PERIOD);
        }
    }

    /** Bytes in order. */
    static final class Queue {
        byte[] bytes = new byte[1 << 16];
        int start;
        int end;

        void put(byte[] from, int at, int length) {
            if (end + length > bytes.length) {
                byte[] larger = end - start + length > bytes.length / 2 ? new byte[2 * (end - start + length)] : bytes;
                System.arraycopy(bytes, start, larger, 0, end - start);
                end -= start;
                start = 0;
                bytes = larger;
            }
            System.arraycopy(from, at, bytes, end, length);
            end += length;
        }

        void put(ByteBuffer from) {
            put(from.array(), from.arrayOffset() + from.position(), from.remaining());
        }

        int size() {
            return end - start;
        }

        ByteBuffer view() {
            return ByteBuffer.wrap(bytes, start, end - start);
        }

        void skip(int n) {
            start += n;
        }
    }

    /** One TLS connection between two queues. */
    static final class Layer {
        final String name;
        final boolean server;
        final SSLEngine engine;
        final Queue incoming = new Queue();
        final Queue outgoing = new Queue();
        /** What it has received. */
        final Queue plain = new Queue();
        boolean established;
        boolean ended;
        boolean closed;
        boolean inputEnded;
        final boolean updates;
        final ByteBuffer space;

        Layer(Map<String, String> job, String name) throws Exception {
            this.name = name;
            server = job.get(name).equals("server");
            updates = job.get(name + "_updates").equals("1");
            engine = context(job, name).createSSLEngine(job.get(name + "_name"), 1);
            engine.setUseClientMode(!server);
            engine.setEnabledProtocols(new String[] {"TLSv" + job.get(name + "_tls")});
            SSLParameters parameters = engine.getSSLParameters();
            parameters.setApplicationProtocols(new String[] {job.get(name + "_alpn")});
            if (server) {
                parameters.setNeedClientAuth(true);
            } else {
                parameters.setServerNames(List.of((SNIServerName) new SNIHostName(job.get(name + "_name"))));
            }
            engine.setSSLParameters(parameters);
            space = ByteBuffer.allocate(1 << 17);
            engine.beginHandshake();
        }

        /** As far as the input reaches; says whether anything moved. */
        boolean advance() throws SSLException {
            boolean moved = false;
            while (true) {
                HandshakeStatus status = engine.getHandshakeStatus();
                if (status == HandshakeStatus.NEED_TASK) {
                    for (Runnable task; (task = engine.getDelegatedTask()) != null; ) {
                        task.run();
                    }
                    moved = true;
                } else if (status == HandshakeStatus.NEED_WRAP && !engine.isOutboundDone()) {
                    wrap(ByteBuffer.allocate(0));
                    moved = true;
                } else if (unwrap()) {
                    moved = true;
                } else {
                    return moved;
                }
            }
        }

        boolean unwrap() throws SSLException {
            if (ended || (incoming.size() == 0 && !inputEnded)) {
                return false;
            }
            if (incoming.size() == 0) {
                engine.closeInbound(); // throws where no close_notify came
                return false;
            }
            ByteBuffer from = incoming.view();
            space.clear();
            SSLEngineResult result = engine.unwrap(from, space);
            incoming.skip(result.bytesConsumed());
            plain.put(space.flip());
            finished(result);
            if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
                ended = true;
                return true;
            }
            if (result.getStatus() == SSLEngineResult.Status.BUFFER_UNDERFLOW && inputEnded) {
                engine.closeInbound();
            }
            return result.bytesConsumed() > 0;
        }

        int wrap(ByteBuffer from) throws SSLException {
            space.clear();
            SSLEngineResult result = engine.wrap(from, space);
            outgoing.put(space.flip());
            finished(result);
            return result.bytesConsumed();
        }

        void finished(SSLEngineResult result) {
            established |= result.getHandshakeStatus() == HandshakeStatus.FINISHED;
        }

        void close() throws SSLException {
            if (!closed) {
                closed = true;
                engine.closeOutbound();
                wrap(ByteBuffer.allocate(0));
            }
        }

        void updateKeys() throws SSLException {
            // After the other side's end JSSE calls its own wish for new keys a handshake failure.
            if (updates && !ended) {
                engine.beginHandshake();
                wrap(ByteBuffer.allocate(0));
            }
        }

        String asked() {
            if (server && engine.getSession() instanceof ExtendedSSLSession) {
                for (SNIServerName asked : ((ExtendedSSLSession) engine.getSession()).getRequestedServerNames()) {
                    return ((SNIHostName) asked).getAsciiName();
                }
            }
            return "-";
        }
    }

    static SSLContext context(Map<String, String> job, String name) throws Exception {
        String own = job.get(name + "_own");
        String trust = job.get(name + "_trust");
        String dir = job.get("dir");
        if (!KEYS.containsKey(dir + own)) {
            KEYS.put(dir + own, keys(job, own));
        }
        if (!TRUSTED.containsKey(dir + trust)) {
            TRUSTED.put(dir + trust, trusted(job, trust));
        }
        // Made anew for each, so that no session is resumed: the certificates are what is looked at.
        SSLContext made = SSLContext.getInstance("TLS");
        made.init(KEYS.get(dir + own).getKeyManagers(), TRUSTED.get(dir + trust).getTrustManagers(), null);
        return made;
    }

    static final Map<String, KeyManagerFactory> KEYS = new HashMap<>();
    static final Map<String, TrustManagerFactory> TRUSTED = new HashMap<>();

    static KeyManagerFactory keys(Map<String, String> job, String own) throws Exception {
        char[] password = {};
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(null, null);
        Certificate[] chain = certificates(job, own).toArray(new Certificate[0]);
        keys.setKeyEntry("own", key(job, own, chain[0].getPublicKey().getAlgorithm()), password, chain);
        KeyManagerFactory keyManagers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keyManagers.init(keys, password);
        return keyManagers;
    }

    static TrustManagerFactory trusted(Map<String, String> job, String trust) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        for (Certificate certificate : certificates(job, trust)) {
            trusted.setCertificateEntry("trusted" + trusted.size(), certificate);
        }
        TrustManagerFactory trustManagers =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trustManagers.init(trusted);
        return trustManagers;
    }

    static Collection<? extends Certificate> certificates(Map<String, String> job, String name) throws Exception {
        byte[] pem = Files.readAllBytes(Path.of(job.get("dir"), name + ".pem"));
        return CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem));
    }

    static PrivateKey key(Map<String, String> job, String name, String algorithm) throws Exception {
        String pem = Files.readString(Path.of(job.get("dir"), name + ".key"));
        byte[] der = Base64.getMimeDecoder().decode(pem.replaceAll("-----[A-Z ]+-----", ""));
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(der));
    }

    final Map<String, String> job;
    final Layer outer;
    final Layer inner;
    final long send;
    final long update;
    final int piece;
    final int outerPiece;
    long updates;
    long sent;
    long received;
    long wrong = -1;
    boolean done;
    Layer at;
    Layer failedAt;
    Exception failure;

    Peer(Map<String, String> job) throws Exception {
        this.job = job;
        outer = new Layer(job, "outer");
        inner = new Layer(job, "inner");
        send = Long.parseLong(job.get("send"));
        update = Long.parseLong(job.get("update"));
        piece = Integer.parseInt(job.get("piece"));
        outerPiece = Integer.parseInt(job.get("outer_piece"));
    }

    void advance() {
        if (failure != null) {
            return;
        }
        try {
            step();
        } catch (SSLException e) {
            failure = e;
            failedAt = at;
            done = true;
            flushAlert();
        }
    }

    void flushAlert() {
        try {
            while (failedAt == inner && inner.engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP
                    && !inner.engine.isOutboundDone()) {
                inner.wrap(ByteBuffer.allocate(0));
            }
        } catch (SSLException e) {
            // The one that is told already.
        }
        try {
            carry();
            outer.close();
            while (outer.engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP && !outer.engine.isOutboundDone()) {
                outer.wrap(ByteBuffer.allocate(0));
            }
        } catch (SSLException e) {
            // Likewise.
        }
    }

    void step() throws SSLException {
        while (true) {
            at = outer;
            boolean moved = outer.advance();
            if (outer.plain.size() > 0) {
                inner.incoming.put(outer.plain.view());
                outer.plain.skip(outer.plain.size());
            }
            inner.inputEnded |= outer.ended;
            at = inner;
            if (outer.established && !(inner.inputEnded && inner.ended)) {
                moved |= inner.advance();
                take();
                speak();
                carry();
            }
            if (!moved) {
                return;
            }
        }
    }

    void take() {
        ByteBuffer data = inner.plain.view();
        inner.plain.skip(data.remaining());
        while (data.hasRemaining()) {
            if (data.get() != PATTERN[(int) (received % PERIOD)] && wrong < 0) {
                wrong = received;
            }
            received++;
        }
    }

    void speak() throws SSLException {
        if (!inner.established || (job.get("waits").equals("1") && !inner.ended)) {
            return;
        }
        while (sent < send) {
            if (outer.outgoing.size() >= FULL) {
                return;
            }
            long most = Math.min(piece, send - sent);
            if (update > 0) {
                most = Math.min(most, (updates + 1) * update - sent);
            }
            int n = inner.wrap(ByteBuffer.wrap(PATTERN, (int) (sent % PERIOD), (int) most));
            sent += n;
            carry();
            if (n == 0 && inner.engine.getHandshakeStatus() != HandshakeStatus.NEED_WRAP) {
                return; // it waits for input
            }
            if (update > 0 && sent == (updates + 1) * update) {
                inner.updateKeys();
                carry();
                outer.updateKeys();
                updates++;
            }
        }
        switch (job.get("cut")) {
            case "transport":
            case "reset":
                done = true;
                break;
            case "outer":
                carry();
                outer.close();
                done = true;
                break;
            default:
                inner.close();
                carry();
                if (inner.ended) {
                    if (job.get("cut").equals("none")) {
                        outer.close();
                    }
                    done = true;
                }
        }
    }

    /** Inner records become outer plaintext. */
    void carry() throws SSLException {
        Layer before = at;
        at = outer;
        while (inner.outgoing.size() > 0 && outer.established && !outer.closed) {
            ByteBuffer from = inner.outgoing.view();
            from.limit(from.position() + Math.min(outerPiece, from.remaining()));
            int n = outer.wrap(from);
            inner.outgoing.skip(n);
            if (n == 0 && outer.engine.getHandshakeStatus() != HandshakeStatus.NEED_WRAP) {
                break; // it waits for input
            }
        }
        at = before;
    }

    String report() {
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("end", inner.ended ? "clean" : failure == null ? "none" : isTruncation() ? "truncated" : "error");
        if (failure != null && !inner.ended) {
            said.put("layer", failedAt.name);
            said.put("reason", String.valueOf(failure.getMessage()).replace(' ', '_'));
        }
        said.put("received", received);
        said.put("wrong", wrong);
        said.put("outer_end", outer.ended ? "clean" : "unclean");
        for (Layer layer : List.of(outer, inner)) {
            String protocol = layer.engine.getApplicationProtocol();
            said.put(layer.name + "_version", layer.engine.getSession().getProtocol().replace("TLSv", ""));
            said.put(layer.name + "_alpn", protocol == null || protocol.isEmpty() ? "-" : protocol);
            said.put(layer.name + "_sni", layer.asked());
        }
        StringBuilder line = new StringBuilder();
        said.forEach((key, value) -> line.append(key).append('=').append(value).append(' '));
        return line.toString();
    }

    boolean isTruncation() {
        return String.valueOf(failure.getMessage()).contains("closing inbound before receiving peer's close_notify");
    }

    static String converse(Map<String, String> job) throws Exception {
        Peer peer = new Peer(job);
        ByteBuffer space = ByteBuffer.allocate(1 << 16);
        try (SocketChannel tcp = SocketChannel.open(new InetSocketAddress("127.0.0.1", Integer.parseInt(job.get("port"))));
                Selector selector = Selector.open()) {
            tcp.setOption(StandardSocketOptions.TCP_NODELAY, true);
            tcp.configureBlocking(false);
            SelectionKey key = tcp.register(selector, SelectionKey.OP_READ);
            boolean shut = false;
            while (true) {
                peer.advance();
                Queue wire = peer.outer.outgoing;
                if (peer.done && wire.size() == 0 && !shut) {
                    shut = true;
                    if (job.get("cut").equals("reset")) {
                        tcp.setOption(StandardSocketOptions.SO_LINGER, 0);
                        break;
                    }
                    tcp.shutdownOutput();
                }
                key.interestOps(SelectionKey.OP_READ | (wire.size() > 0 ? SelectionKey.OP_WRITE : 0));
                selector.selectedKeys().clear();
                if (selector.select(LIMIT) == 0) {
                    throw new IOException("a hang");
                }
                if (key.isWritable()) {
                    wire.skip(tcp.write(wire.view()));
                }
                if (key.isReadable()) {
                    space.clear();
                    int n = tcp.read(space);
                    if (n < 0) {
                        throw new EOFException();
                    }
                    peer.outer.incoming.put(space.flip());
                }
            }
        } catch (IOException e) {
            // What has not come by now does not come.
            peer.outer.inputEnded = true;
            peer.inner.inputEnded = true;
            peer.advance();
        }
        return peer.report();
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("com.sun.net.ssl.requireCloseNotify", "true");
        System.out.println("Java " + System.getProperty("java.version") + " JSSE");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            Map<String, String> job = new HashMap<>();
            for (String pair : line.trim().split(" +")) {
                String[] keyAndValue = pair.split("=", 2);
                job.put(keyAndValue[0], keyAndValue[1]);
            }
            System.out.println(converse(job));
        }
    }
}
