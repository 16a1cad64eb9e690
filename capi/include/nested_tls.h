/* nested-tls for C: TLS inside TLS as a machine over byte buffers, without sockets, threads and callbacks.
 *
 * Made from capi/src by `cargo test`; do not edit.
 *
 * - A handle (nested_tls_layer, nested_tls_connection) is NULL, or came from the function that makes its kind and was
 *   not freed. No two threads use one handle at the same time; different handles are independent of each other.
 * - A pointer to bytes with a length is NULL with length 0, or points to so many readable bytes. A text ends with a
 *   zero byte. A pointer to a result can be written to.
 * - What is NULL where it must not be, misaligned, impossibly long or no value of its kind is refused by
 *   NESTED_TLS_STATUS_ARGUMENT; nothing changes then. Freeing NULL is nothing.
 * - Bytes that a function lends stay valid until the next call with the same handle; texts of errors until the next
 *   call with it that fails.
 * - After any call every layer has gone as far as its input reaches: there is no call for "try again".
 * - The order that never stalls: write all that nested_tls_wire_out has, take events and plaintext, then read from the
 *   transport if nested_tls_wire_in offers space. Reading must not wait until all is written.
 * - The first failure of a connection is final. nested_tls_wire_out then still has the alert for the peer.
 * - A panic inside is a bug: it is caught, is told as NESTED_TLS_STATUS_INTERNAL, and the handle can only be freed. It
 *   never unwinds into the caller. Where the library was built with panic = "abort", it ends the process.
 * - The inner layer's records travel in the outer layer's plaintext as they are: there are no out-of-band messages.
 */

#ifndef NESTED_TLS_H
#define NESTED_TLS_H



#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


// How a call went.
typedef enum nested_tls_status {
  // It did what it says.
  NESTED_TLS_STATUS_OK = 0,
  // A pointer is NULL or misaligned, a length is impossible, or a value is none of its kind. Nothing changed.
  NESTED_TLS_STATUS_ARGUMENT = 1,
  // The call came at the wrong time. Nothing changed.
  NESTED_TLS_STATUS_MISUSE = 2,
  // A certificate, a key, a name or a file can't be used. Nothing changed.
  NESTED_TLS_STATUS_CONFIGURATION = 3,
  // TLS failed: what the peer sent, what it refused, or what could not be verified. Final.
  NESTED_TLS_STATUS_TLS = 4,
  // A layer ended without its peer's close_notify: someone cut it. Final.
  NESTED_TLS_STATUS_TRUNCATED = 5,
  // The peer wanted more memory than the limits allow. Final.
  NESTED_TLS_STATUS_LIMIT = 6,
  // What came between the layers is nonsense. Final.
  NESTED_TLS_STATUS_FRAMING = 7,
  // This side closed before the handshakes were complete. Final.
  NESTED_TLS_STATUS_CANCELED = 8,
  // A bug of this library. The handle can only be freed.
  NESTED_TLS_STATUS_INTERNAL = 9,
} nested_tls_status;

// Something that happened to a connection; each occurs at most once.
typedef enum nested_tls_event {
  // Nothing new.
  NESTED_TLS_EVENT_NONE = 0,
  // The outer layer's peer is authenticated and its handshake complete.
  NESTED_TLS_EVENT_OUTER_ESTABLISHED = 1,
  // The inner layer's peer is authenticated and its handshake complete.
  NESTED_TLS_EVENT_INNER_ESTABLISHED = 2,
  // The outer layer's peer has closed it.
  NESTED_TLS_EVENT_OUTER_PEER_CLOSED = 3,
  // The inner layer's peer has closed it: what it had to say is complete.
  NESTED_TLS_EVENT_INNER_PEER_CLOSED = 4,
  // The inner layer ended cleanly, but then the transport ended with the outer one open. The data is complete.
  NESTED_TLS_EVENT_OUTER_UNCLEAN = 5,
  // All is closed.
  NESTED_TLS_EVENT_CLOSED = 6,
} nested_tls_event;

// How far a connection has come.
typedef enum nested_tls_phase_id {
  // The outer layer shakes hands.
  NESTED_TLS_PHASE_ID_OUTER_HANDSHAKE = 1,
  // The outer layer's plaintext is the user's.
  NESTED_TLS_PHASE_ID_PREAMBLE = 2,
  // The inner layer shakes hands.
  NESTED_TLS_PHASE_ID_INNER_HANDSHAKE = 3,
  // Application data flows.
  NESTED_TLS_PHASE_ID_TRAFFIC = 4,
  // One side has closed the innermost layer.
  NESTED_TLS_PHASE_ID_CLOSING = 5,
  // All is closed.
  NESTED_TLS_PHASE_ID_CLOSED = 6,
  // The first error was final.
  NESTED_TLS_PHASE_ID_FAILED = 7,
} nested_tls_phase_id;

// Which end of a layer this side is.
typedef enum nested_tls_side {
  // This side sends the ClientHello.
  NESTED_TLS_SIDE_CLIENT = 1,
  // This side answers it.
  NESTED_TLS_SIDE_SERVER = 2,
} nested_tls_side;

// One of the two TLS connections.
typedef enum nested_tls_layer_id {
  // The connection to the host, next to the transport.
  NESTED_TLS_LAYER_ID_OUTER = 1,
  // The connection through the host, end to end.
  NESTED_TLS_LAYER_ID_INNER = 2,
} nested_tls_layer_id;

// A version of TLS, as it stands on the wire.
typedef enum nested_tls_version_id {
  // TLS 1.2.
  NESTED_TLS_VERSION_ID_TLS12 = 771,
  // TLS 1.3.
  NESTED_TLS_VERSION_ID_TLS13 = 772,
} nested_tls_version_id;

// What a connection can do now, one bit each.
typedef enum nested_tls_want {
  // It takes bytes from the transport.
  NESTED_TLS_WANT_WIRE_IN = 1,
  // It has bytes for the transport.
  NESTED_TLS_WANT_WIRE_OUT = 2,
  // It takes plaintext.
  NESTED_TLS_WANT_PLAIN_WRITE = 4,
  // It has plaintext to read, or its end.
  NESTED_TLS_WANT_PLAIN_OUT = 8,
} nested_tls_want;

// A part of what is known of a failure.
typedef enum nested_tls_field {
  // All of it, in one line.
  NESTED_TLS_FIELD_MESSAGE = 0,
  // The layer: `outer`, `inner`, or nothing.
  NESTED_TLS_FIELD_LAYER = 1,
  // How far the connection had come.
  NESTED_TLS_FIELD_PHASE = 2,
  // What was wrong.
  NESTED_TLS_FIELD_REASON = 3,
  // What would have been right.
  NESTED_TLS_FIELD_EXPECTED = 4,
  // What was there.
  NESTED_TLS_FIELD_FOUND = 5,
  // What a person can do about it.
  NESTED_TLS_FIELD_REMEDY = 6,
} nested_tls_field;

// Two TLS connections, the inner one inside the outer one, without a socket. Before `nested_tls_nest`, and after
// `nested_tls_into_outer`, only the outer one.
typedef struct nested_tls_connection nested_tls_connection;

// The settings of one layer, for any number of connections. A connection copies what it needs: the layer may be changed or
// freed afterwards.
typedef struct nested_tls_layer nested_tls_layer;

// What is known of a layer.
typedef struct nested_tls_layer_facts {
  // Its version of TLS, of `enum nested_tls_version_id`; 0 until it is established.
  uint16_t version;
  // Its cipher suite, as registered with IANA; 0 until it is established.
  uint16_t suite;
  // The protocol that ALPN chose; NULL if none.
  const uint8_t *alpn;
  // Its length.
  size_t alpn_len;
  // The peer's own certificate in DER; NULL if there is none.
  const uint8_t *peer_certificate;
  // Its length.
  size_t peer_certificate_len;
} nested_tls_layer_facts;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library.
const char *nested_tls_version(void);

// A connection with this outer layer. Its plaintext is the outer layer's, by the functions with `preamble` in their names,
// until `nested_tls_nest` puts the inner layer inside; that may be at once. What fails is told by `outer`, and `*connection`
// is NULL then.
enum nested_tls_status nested_tls_connection_new(struct nested_tls_layer *outer,
                                                 struct nested_tls_connection **connection);

// Free a connection. NULL is nothing. Nothing is sent: see `nested_tls_close`.
void nested_tls_connection_free(struct nested_tls_connection *connection);

// A part of what the last failing call with this connection had to say, one of `enum nested_tls_field`; "" if there is
// nothing. Never NULL. Valid until the next failing call with this connection, or its end.
const char *nested_tls_connection_error(struct nested_tls_connection *connection, uint32_t field);

// Put an inner layer inside, with settings of its own. May come before the outer handshake is complete, which saves a round
// trip. Outer plaintext not read yet goes to the inner layer. Where TLS itself refuses the settings the connection is of
// no use any more; after any other failure it is as before.
enum nested_tls_status nested_tls_nest(struct nested_tls_connection *connection,
                                       struct nested_tls_layer *inner);

// Take the inner layer out again, once both sides have closed it and its plaintext is read. What follows it is the outer
// layer's plaintext, nothing lost.
enum nested_tls_status nested_tls_into_outer(struct nested_tls_connection *connection);

// Space to receive into from the transport, at `*space`, `*len` bytes; NULL and 0 when nothing should be read now, because
// plaintext waits to be consumed or nothing can come any more.
enum nested_tls_status nested_tls_wire_in(struct nested_tls_connection *connection,
                                          uint8_t **space,
                                          size_t *len);

// The first `count` bytes of what `nested_tls_wire_in` last offered hold what was received. 0 says that nothing is there for
// now. Plaintext, events and answers for the peer come of this: look at them before the next call.
enum nested_tls_status nested_tls_wire_received(struct nested_tls_connection *connection,
                                                size_t count);

// The transport ended: nothing more will be received.
enum nested_tls_status nested_tls_wire_eof(struct nested_tls_connection *connection);

// Bytes to write to the transport next, at `*bytes`, `*len` of them; NULL and 0 when there are none. After a failure they are
// the alert for the peer.
enum nested_tls_status nested_tls_wire_out(struct nested_tls_connection *connection,
                                           const uint8_t **bytes,
                                           size_t *len);

// The first `count` bytes of what `nested_tls_wire_out` last showed were written.
enum nested_tls_status nested_tls_wire_sent(struct nested_tls_connection *connection, size_t count);

// Take what fits of `data` for the inner layer's peer, and say in `*taken` how much that is: it is the connection's then, and
// must not be given again. 0 means not yet: the inner layer is not established, or the transport has to take something
// first.
enum nested_tls_status nested_tls_plain_write(struct nested_tls_connection *connection,
                                              const uint8_t *data,
                                              size_t data_len,
                                              size_t *taken);

// As `nested_tls_plain_write`, to the outer layer's peer, which is the host: what must be said before the inner layer. Fails
// while there is an inner layer.
enum nested_tls_status nested_tls_preamble_write(struct nested_tls_connection *connection,
                                                 const uint8_t *data,
                                                 size_t data_len,
                                                 size_t *taken);

// Plaintext of the inner layer to read, at `*bytes`, `*len` of it; NULL and 0 when there is none. `*end` says that none will
// come because the peer has ended its direction, which only the peer itself can do.
enum nested_tls_status nested_tls_plain_out(struct nested_tls_connection *connection,
                                            const uint8_t **bytes,
                                            size_t *len,
                                            bool *end);

// As `nested_tls_plain_out`, of the outer layer: what the host says. Fails while there is an inner layer.
enum nested_tls_status nested_tls_preamble_out(struct nested_tls_connection *connection,
                                               const uint8_t **bytes,
                                               size_t *len,
                                               bool *end);

// The first `count` bytes of what `nested_tls_plain_out` last showed were read.
enum nested_tls_status nested_tls_plain_consumed(struct nested_tls_connection *connection, size_t count);

// The first `count` bytes of what `nested_tls_preamble_out` last showed were read.
enum nested_tls_status nested_tls_preamble_consumed(struct nested_tls_connection *connection, size_t count);

// No more plaintext will be written: the innermost layer's close_notify is queued behind what was taken. Reading goes on.
enum nested_tls_status nested_tls_close_write(struct nested_tls_connection *connection);

// Close every layer: the close_notify of each is queued, the innermost first. Never waits for the peer; what it still sends
// can be read. Before the handshakes are complete this ends the connection.
enum nested_tls_status nested_tls_close(struct nested_tls_connection *connection);

// The next event, at `*event`; `NESTED_TLS_EVENT_NONE` when there is none for now.
enum nested_tls_status nested_tls_poll_event(struct nested_tls_connection *connection, enum nested_tls_event *event);

// What the connection can do now, at `*wants`: bits of `enum nested_tls_want`.
enum nested_tls_status nested_tls_wants(struct nested_tls_connection *connection, uint32_t *wants);

// How far the connection has come, at `*phase`.
enum nested_tls_status nested_tls_phase(struct nested_tls_connection *connection, enum nested_tls_phase_id *phase);

// The failure that ended the connection, again and again; OK if there is none.
enum nested_tls_status nested_tls_failure(struct nested_tls_connection *connection);

// What is known of `layer`, one of `enum nested_tls_layer_id`, at `*info`.
enum nested_tls_status nested_tls_layer_info(struct nested_tls_connection *connection,
                                             uint32_t layer,
                                             struct nested_tls_layer_facts *info);

// A layer in which this side is `side`, one of `enum nested_tls_side`; NULL for anything else. It trusts nobody yet.
struct nested_tls_layer *nested_tls_layer_new(uint32_t side);

// Free a layer. NULL is nothing.
void nested_tls_layer_free(struct nested_tls_layer *layer);

// A part of what the last failing call with this layer had to say, one of `enum nested_tls_field`; "" if there is nothing.
// Never NULL. Valid until the next failing call with this layer, or its end.
const char *nested_tls_layer_error(struct nested_tls_layer *layer,
                                   uint32_t field);

// Accept peers that one of these authorities issued: one or more certificates in PEM. Servers must have the name of
// `nested_tls_layer_server_name`, unless their names are not checked. Adds to what is there; where a client has pins
// besides, both must hold; where a server has, either is enough.
enum nested_tls_status nested_tls_layer_trust_roots(struct nested_tls_layer *layer, const uint8_t *pem, size_t pem_len);

// Accept servers that a public authority certified for the name of `nested_tls_layer_server_name`: for a layer that faces a
// public host. Goes with no other trust.
enum nested_tls_status nested_tls_layer_trust_public_roots(struct nested_tls_layer *layer);

// Accept the peer with this very certificate: one or more in PEM. Adds to what is there.
enum nested_tls_status nested_tls_layer_pin_certificate(struct nested_tls_layer *layer,
                                                        const uint8_t *pem,
                                                        size_t pem_len);

// Accept the peer whose public key with its algorithm (SubjectPublicKeyInfo) has this SHA-256, which must have 32 bytes.
enum nested_tls_status nested_tls_layer_pin_spki_sha256(struct nested_tls_layer *layer,
                                                        const uint8_t *hash,
                                                        size_t hash_len);

// Let clients be anonymous: a server then asks for no certificate. Goes with no roots and no pins.
enum nested_tls_status nested_tls_layer_anonymous_clients(struct nested_tls_layer *layer);

// Present this chain, the own certificate first, with its key, both in PEM. What was there is replaced. The key's bytes are
// the caller's to wipe.
enum nested_tls_status nested_tls_layer_own_certificate(struct nested_tls_layer *layer,
                                                        const uint8_t *chain_pem,
                                                        size_t chain_pem_len,
                                                        const uint8_t *key_pem,
                                                        size_t key_pem_len);

// The name that the server must have, and that it is asked for in the clear of this layer: a DNS name, or an address, which
// is not sent.
enum nested_tls_status nested_tls_layer_server_name(struct nested_tls_layer *layer,
                                                    const char *name);

// Do not look at the server's name: the roots, or the pins, are private and are its whole identity.
enum nested_tls_status nested_tls_layer_no_name_check(struct nested_tls_layer *layer);

// Accept certificates that have expired, for peers that can't renew theirs.
enum nested_tls_status nested_tls_layer_ignore_expiry(struct nested_tls_layer *layer);

// Offer, or accept, this protocol by ALPN, after those added before: 1 to 255 bytes.
enum nested_tls_status nested_tls_layer_add_alpn(struct nested_tls_layer *layer,
                                                 const uint8_t *protocol,
                                                 size_t protocol_len);

// Speak no version below `lowest` and none above `highest`, both of `enum nested_tls_version_id`. TLS 1.2 and 1.3 unless said.
enum nested_tls_status nested_tls_layer_versions(struct nested_tls_layer *layer,
                                                 uint32_t lowest,
                                                 uint32_t highest);

// Make `outer` and `inner`, two layers of clients, those of an AWS CloudHSM client from the files of its directory, such as
// `/opt/cloudhsm/etc`: the host's pinned certificates, the client's own, and the customer's authority. All other settings
// of them are dropped, and can't be changed any more. What fails is told by `outer`.
enum nested_tls_status nested_tls_layers_cloudhsm(struct nested_tls_layer *outer,
                                                  struct nested_tls_layer *inner,
                                                  const char *directory);

// A few words for a status, where there is no handle that could say more. Never NULL, never freed.
const char *nested_tls_status_text(uint32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NESTED_TLS_H */
