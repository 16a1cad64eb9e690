/* Nested TLS by two GnuTLS sessions over queues in memory. One line of KEY=VALUE pairs on standard input for each
 * conversation, one such line on standard output. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT = 60, PERIOD = 251, FULL = 1 << 17, PIECE = 1 << 16, RECORD = 1 << 14 };

static unsigned char pattern[PERIOD * 1024];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void check(int code, const char *what) {
    if (code < 0) {
        fprintf(stderr, "%s: %s\n", what, gnutls_strerror(code));
        exit(1);
    }
}

/* Bytes in order. */
struct queue {
    unsigned char *bytes;
    size_t start, end, size;
};

static size_t length(const struct queue *queue) { return queue->end - queue->start; }

static void put(struct queue *queue, const void *from, size_t count) {
    if (queue->end + count > queue->size) {
        memmove(queue->bytes, queue->bytes + queue->start, length(queue));
        queue->end -= queue->start;
        queue->start = 0;
    }
    if (queue->end + count > queue->size) {
        queue->size = 2 * (queue->end + count);
        queue->bytes = realloc(queue->bytes, queue->size);
        if (!queue->bytes) die("realloc");
    }
    memcpy(queue->bytes + queue->end, from, count);
    queue->end += count;
}

static size_t take(struct queue *queue, void *to, size_t most) {
    size_t count = length(queue) < most ? length(queue) : most;
    memcpy(to, queue->bytes + queue->start, count);
    queue->start += count;
    return count;
}

/* What the conversation is about: "KEY=VALUE" words, ended by NULL. */
static char *job[64];

static const char *word(const char *layer, const char *key) {
    char whole[64];
    int n = snprintf(whole, sizeof whole, "%s%s=", layer, key);
    for (char **pair = job; *pair; pair++)
        if (!strncmp(*pair, whole, (size_t)n)) return *pair + n;
    fprintf(stderr, "no %s%s\n", layer, key);
    exit(1);
}

static long long number(const char *key) { return atoll(word("", key)); }

/* One TLS connection between two queues. */
struct layer {
    const char *name;
    bool server, established, ended, closed, input_ended, updates;
    size_t pad;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t tickets;
    struct queue incoming, outgoing;
};

static ssize_t pull(gnutls_transport_ptr_t at, void *to, size_t most) {
    struct layer *layer = at;
    if (!length(&layer->incoming) && !layer->input_ended) {
        gnutls_transport_set_errno(layer->session, EAGAIN);
        return -1;
    }
    return (ssize_t)take(&layer->incoming, to, most);
}

static int pull_timeout(gnutls_transport_ptr_t at, unsigned ms) {
    struct layer *layer = at;
    (void)ms;
    return length(&layer->incoming) || layer->input_ended;
}

static ssize_t push(gnutls_transport_ptr_t at, const void *from, size_t count) {
    put(&((struct layer *)at)->outgoing, from, count);
    return (ssize_t)count;
}

/* The certificates have no names: the chain is all that is looked at. */
static int verify(gnutls_session_t session) {
    unsigned status;
    int code = gnutls_certificate_verify_peers3(session, NULL, &status);
    return code < 0 || status ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

static void open_layer(struct layer *layer, const char *name) {
    char paths[3][512];
    memset(layer, 0, sizeof *layer);
    layer->name = name;
    layer->server = !strcmp(word(name, ""), "server");
    layer->updates = !strcmp(word(name, "_updates"), "1");
    layer->pad = layer->updates ? (size_t)number("pad") : 0;
    snprintf(paths[0], sizeof paths[0], "%s/%s.pem", word("", "dir"), word(name, "_trust"));
    snprintf(paths[1], sizeof paths[1], "%s/%s.pem", word("", "dir"), word(name, "_own"));
    snprintf(paths[2], sizeof paths[2], "%s/%s.key", word("", "dir"), word(name, "_own"));
    check(gnutls_certificate_allocate_credentials(&layer->credentials), "credentials");
    check(gnutls_certificate_set_x509_trust_file(layer->credentials, paths[0], GNUTLS_X509_FMT_PEM), paths[0]);
    check(gnutls_certificate_set_x509_key_file(layer->credentials, paths[1], paths[2], GNUTLS_X509_FMT_PEM), paths[1]);
    gnutls_certificate_set_verify_function(layer->credentials, verify);

    unsigned role = layer->server ? GNUTLS_SERVER : GNUTLS_CLIENT;
    check(gnutls_init(&layer->session, role | GNUTLS_NONBLOCK | GNUTLS_FORCE_CLIENT_CERT), "init");
    char priority[64];
    snprintf(priority, sizeof priority, "NORMAL:-VERS-ALL:+VERS-TLS%s", word(name, "_tls"));
    check(gnutls_priority_set_direct(layer->session, priority, NULL), priority);
    check(gnutls_credentials_set(layer->session, GNUTLS_CRD_CERTIFICATE, layer->credentials), "credentials");
    const char *alpn = word(name, "_alpn"), *asked = word(name, "_name");
    gnutls_datum_t protocol = {(unsigned char *)alpn, (unsigned)strlen(alpn)};
    check(gnutls_alpn_set_protocols(layer->session, &protocol, 1, GNUTLS_ALPN_MANDATORY), "ALPN");
    if (layer->server) {
        gnutls_certificate_server_set_request(layer->session, GNUTLS_CERT_REQUIRE);
        check(gnutls_session_ticket_key_generate(&layer->tickets), "tickets");
        check(gnutls_session_ticket_enable_server(layer->session, &layer->tickets), "tickets");
    } else {
        check(gnutls_server_name_set(layer->session, GNUTLS_NAME_DNS, asked, strlen(asked)), "name");
    }
    gnutls_transport_set_ptr(layer->session, layer);
    gnutls_transport_set_pull_function(layer->session, pull);
    gnutls_transport_set_pull_timeout_function(layer->session, pull_timeout);
    gnutls_transport_set_push_function(layer->session, push);
}

static void free_layer(struct layer *layer) {
    gnutls_deinit(layer->session);
    gnutls_certificate_free_credentials(layer->credentials);
    gnutls_free(layer->tickets.data);
    free(layer->incoming.bytes);
    free(layer->outgoing.bytes);
}

/* One conversation. */
struct peer {
    struct layer outer, inner;
    long long send, update, updates, sent, received, wrong;
    size_t piece, outer_piece;
    const char *cut;
    bool waits, done;
    int failure;
    struct layer *at;
};

/* 1 when it is done, 0 when it waits for input, else the failure. GnuTLS also says "again" after a record that was no
 * data, with more at hand: only where nothing was taken is there nothing to take. */
static int went(struct layer *layer, size_t before, int code) {
    if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED || code == GNUTLS_E_WARNING_ALERT_RECEIVED)
        return length(&layer->incoming) < before ? GNUTLS_E_AGAIN : 0;
    return code < 0 ? code : 1;
}

static int shake_hands(struct layer *layer) {
    int code;
    if (layer->established) return 1;
    do {
        size_t before = length(&layer->incoming);
        code = went(layer, before, gnutls_handshake(layer->session));
    } while (code == GNUTLS_E_AGAIN);
    layer->established = code == 1;
    return code;
}

/* Bytes, 0 if there are none now or at the end, or the failure. */
static ssize_t receive(struct layer *layer, unsigned char *to, size_t most) {
    while (!layer->ended) {
        size_t before = length(&layer->incoming);
        ssize_t count = gnutls_record_recv(layer->session, to, most);
        if (count > 0) return count;
        layer->ended = count == 0;
        int code = went(layer, before, (int)count);
        if (code != GNUTLS_E_AGAIN && code != 1) return code;
    }
    return 0;
}

static void close_layer(struct layer *layer) {
    if (layer->established && !layer->closed) gnutls_bye(layer->session, GNUTLS_SHUT_WR);
    layer->closed = true;
}

/* One record, whole: the queue takes all. */
static int write_record(struct layer *layer, const unsigned char *from, size_t count) {
    size_t pad = layer->pad ? (layer->pad - count % layer->pad) % layer->pad : 0;
    ssize_t sent = gnutls_record_send2(layer->session, from, count, pad, 0);
    return sent < 0 ? (int)sent : 0;
}

/* Inner records become outer plaintext. */
static int carry(struct peer *peer) {
    unsigned char space[RECORD];
    size_t most = peer->outer_piece < RECORD ? peer->outer_piece : RECORD;
    while (length(&peer->inner.outgoing) && peer->outer.established && !peer->outer.closed) {
        int code = write_record(&peer->outer, space, take(&peer->inner.outgoing, space, most));
        if (code < 0) {
            peer->at = &peer->outer;
            return code;
        }
    }
    return 0;
}

static int update_keys(struct layer *layer, bool request) {
    return layer->updates ? gnutls_session_key_update(layer->session, request ? GNUTLS_KU_PEER : 0) : 0;
}

static int speak(struct peer *peer) {
    int code;
    if (peer->waits && !peer->inner.ended) return 0;
    while (peer->sent < peer->send) {
        if (length(&peer->outer.outgoing) >= FULL) return 0;
        long long most = peer->send - peer->sent;
        if (peer->update && most > (peer->updates + 1) * peer->update - peer->sent)
            most = (peer->updates + 1) * peer->update - peer->sent;
        if (most > (long long)peer->piece) most = (long long)peer->piece;
        if (most > RECORD) most = RECORD;
        if ((code = write_record(&peer->inner, pattern + peer->sent % PERIOD, (size_t)most)) < 0) return code;
        peer->sent += most;
        if ((code = carry(peer)) < 0) return code;
        if (peer->update && peer->sent == (peer->updates + 1) * peer->update) {
            bool request = peer->updates++ % 2 == 0;
            if ((code = update_keys(&peer->inner, request)) < 0 || (code = carry(peer)) < 0) return code;
            if ((code = update_keys(&peer->outer, request)) < 0) return code;
        }
    }
    if (!strcmp(peer->cut, "transport") || !strcmp(peer->cut, "reset")) {
        peer->done = true;
    } else if (!strcmp(peer->cut, "outer")) {
        close_layer(&peer->outer);
        peer->done = true;
    } else {
        close_layer(&peer->inner);
        if ((code = carry(peer)) < 0) return code;
        if (peer->inner.ended) {
            if (!strcmp(peer->cut, "none")) close_layer(&peer->outer);
            peer->done = true;
        }
    }
    return 0;
}

static int step(struct peer *peer) {
    unsigned char space[PIECE];
    ssize_t count;
    int code;
    peer->at = &peer->outer;
    if ((code = shake_hands(&peer->outer)) != 1) return code;
    while ((count = receive(&peer->outer, space, sizeof space)) > 0) put(&peer->inner.incoming, space, (size_t)count);
    if (count < 0) return (int)count;
    peer->inner.input_ended |= peer->outer.ended;
    peer->at = &peer->inner;
    if ((code = shake_hands(&peer->inner)) == 1) {
        while ((count = receive(&peer->inner, space, sizeof space)) > 0) {
            for (ssize_t i = 0; i < count; i++, peer->received++)
                if (peer->wrong < 0 && space[i] != peer->received % PERIOD) peer->wrong = peer->received;
        }
        code = count < 0 ? (int)count : speak(peer);
    }
    int carried = carry(peer);
    return code < 0 ? code : carried;
}

/* As far as the input reaches. */
static void advance(struct peer *peer) {
    if (peer->failure) return;
    peer->failure = step(peer);
    if (peer->failure >= 0) {
        peer->failure = 0;
        return;
    }
    gnutls_alert_send_appropriate(peer->at->session, peer->failure);
    if (peer->at == &peer->inner) {
        carry(peer);
        close_layer(&peer->outer);
    }
    peer->done = true;
}

static void exchange(struct peer *peer, int tcp) {
    unsigned char space[PIECE];
    struct queue *wire = &peer->outer.outgoing;
    bool shut = false;
    for (;;) {
        advance(peer);
        if (peer->done && !length(wire) && !shut) {
            shut = true;
            if (!strcmp(peer->cut, "reset")) {
                struct linger linger = {1, 0};
                setsockopt(tcp, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
                return;
            }
            shutdown(tcp, SHUT_WR);
        }
        struct pollfd poll_fd = {tcp, (short)(POLLIN | (length(wire) ? POLLOUT : 0)), 0};
        if (poll(&poll_fd, 1, LIMIT * 1000) != 1) die("a hang");
        if (poll_fd.revents & POLLOUT) {
            ssize_t sent = send(tcp, wire->bytes + wire->start, length(wire), MSG_NOSIGNAL);
            if (sent > 0) wire->start += (size_t)sent;
            if (sent < 0 && errno != EAGAIN) break;
        }
        if (poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t count = recv(tcp, space, sizeof space, 0);
            if (count < 0 && errno == EAGAIN) continue;
            if (count <= 0) break;
            put(&peer->outer.incoming, space, (size_t)count);
        }
    }
    /* What has not come by now does not come. */
    peer->outer.input_ended = true;
    advance(peer);
    /* The outer layer's clean end is none of the inner one: but a failed outer layer gives it no more either. */
    peer->inner.input_ended = true;
    advance(peer);
}

static void say_layer(struct layer *layer) {
    gnutls_datum_t alpn = {0};
    char asked[256] = "-";
    size_t size = sizeof asked;
    unsigned type;
    gnutls_alpn_get_selected_protocol(layer->session, &alpn);
    if (layer->server && gnutls_server_name_get(layer->session, asked, &size, &type, 0) < 0) strcpy(asked, "-");
    const char *version = gnutls_protocol_get_name(gnutls_protocol_get_version(layer->session));
    printf(" %s_version=%s %s_alpn=%.*s %s_sni=%s", layer->name, version ? version + 3 : "-", layer->name,
           alpn.size ? (int)alpn.size : 1, alpn.size ? (char *)alpn.data : "-", layer->name, asked);
}

static void report(struct peer *peer) {
    const char *end = peer->inner.ended                                     ? "clean"
                      : peer->failure == GNUTLS_E_PREMATURE_TERMINATION ? "truncated"
                      : peer->failure                                       ? "error"
                                                                            : "none";
    printf("end=%s received=%lld wrong=%lld outer_end=%s", end, peer->received, peer->wrong,
           peer->outer.ended ? "clean" : "unclean");
    if (peer->failure && !peer->inner.ended) {
        printf(" layer=%s reason=", peer->at->name);
        for (const char *c = gnutls_strerror(peer->failure); *c; c++) putchar(*c == ' ' ? '_' : *c);
        /* An alert in the place of a certificate is "no certificate" to it. */
        int alert = gnutls_alert_get(peer->at->session);
        if (alert) printf(":alert_%d", alert);
    }
    say_layer(&peer->outer);
    say_layer(&peer->inner);
    putchar('\n');
    fflush(stdout);
}

static void converse(void) {
    struct peer peer = {.wrong = -1};
    peer.send = number("send");
    peer.update = number("update");
    peer.piece = (size_t)number("piece");
    peer.outer_piece = (size_t)number("outer_piece");
    peer.waits = number("waits");
    peer.cut = word("", "cut");
    open_layer(&peer.outer, "outer");
    open_layer(&peer.inner, "inner");
    int tcp = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number("port"))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (tcp < 0 || connect(tcp, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(tcp, F_SETFL, O_NONBLOCK);
    exchange(&peer, tcp);
    close(tcp);
    report(&peer);
    free_layer(&peer.inner);
    free_layer(&peer.outer);
}

int main(void) {
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (unsigned char)(i % PERIOD);
    printf("GnuTLS %s\n", gnutls_check_version(NULL));
    fflush(stdout);
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        size_t words = 0;
        for (char *pair = strtok(line, " \n"); pair && words < 63; pair = strtok(NULL, " \n")) job[words++] = pair;
        job[words] = NULL;
        alarm(LIMIT);
        converse();
    }
    free(line);
    return 0;
}
