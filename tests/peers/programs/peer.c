/* Nested TLS by two connections of a library over queues in memory. One line of KEY=VALUE pairs on standard input for
 * each conversation, one such line on standard output. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { LIMIT = 60, PERIOD = 251, FULL = 1 << 17, PIECE = 1 << 16 };

static unsigned char pattern[PERIOD * 1024];

void die(const char *what) {
    perror(what);
    exit(1);
}

size_t length(const struct queue *queue) { return queue->end - queue->start; }

void put(struct queue *queue, const void *from, size_t count) {
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

size_t take(struct queue *queue, void *to, size_t most) {
    size_t count = length(queue) < most ? length(queue) : most;
    memcpy(to, queue->bytes + queue->start, count);
    queue->start += count;
    return count;
}

/* What the conversation is about: "KEY=VALUE" words, ended by NULL. */
static char *job[64];

const char *word(const char *layer, const char *key) {
    char whole[64];
    int n = snprintf(whole, sizeof whole, "%s%s=", layer, key);
    for (char **pair = job; *pair; pair++)
        if (!strncmp(*pair, whole, (size_t)n)) return *pair + n;
    fprintf(stderr, "no %s%s\n", layer, key);
    exit(1);
}

static long long number(const char *key) { return atoll(word("", key)); }

static void open_layer(struct layer *layer, const char *name) {
    struct terms terms;
    memset(layer, 0, sizeof *layer);
    layer->name = name;
    layer->server = !strcmp(word(name, ""), "server");
    layer->updates = !strcmp(word(name, "_updates"), "1");
    layer->pad = layer->updates ? (size_t)number("pad") : 0;
    terms.version = word(name, "_tls");
    terms.alpn = word(name, "_alpn");
    terms.name = word(name, "_name");
    snprintf(terms.trust, sizeof terms.trust, "%s/%s.pem", word("", "dir"), word(name, "_trust"));
    snprintf(terms.own, sizeof terms.own, "%s/%s.pem", word("", "dir"), word(name, "_own"));
    snprintf(terms.key, sizeof terms.key, "%s/%s.key", word("", "dir"), word(name, "_own"));
    tls_open(layer, &terms);
}

static void free_layer(struct layer *layer) {
    tls_free(layer);
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

static int shake_hands(struct layer *layer) {
    int code = layer->established ? 1 : tls_shake_hands(layer);
    layer->established = code == 1;
    return code;
}

static void close_layer(struct layer *layer) {
    if (layer->established && !layer->closed) tls_close(layer);
    layer->closed = true;
}

/* Inner records become outer plaintext. */
static int carry(struct peer *peer) {
    unsigned char space[RECORD];
    size_t most = peer->outer_piece < RECORD ? peer->outer_piece : RECORD;
    while (length(&peer->inner.outgoing) && peer->outer.established && !peer->outer.closed) {
        int code = tls_send(&peer->outer, space, take(&peer->inner.outgoing, space, most));
        if (code < 0) {
            peer->at = &peer->outer;
            return code;
        }
    }
    return 0;
}

static int update_keys(struct layer *layer, bool request) {
    return layer->updates ? tls_update_keys(layer, request) : 0;
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
        if ((code = tls_send(&peer->inner, pattern + peer->sent % PERIOD, (size_t)most)) < 0) return code;
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
    while ((count = tls_receive(&peer->outer, space, sizeof space)) > 0) put(&peer->inner.incoming, space, (size_t)count);
    if (count < 0) return (int)count;
    peer->inner.input_ended |= peer->outer.ended;
    peer->at = &peer->inner;
    if ((code = shake_hands(&peer->inner)) == 1) {
        while ((count = tls_receive(&peer->inner, space, sizeof space)) > 0) {
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
    tls_alert(peer->at, peer->failure);
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
    char version[8] = "-", alpn[256] = "-", asked[256] = "-";
    tls_agreed(layer, version, alpn, asked);
    printf(" %s_version=%s %s_alpn=%s %s_sni=%s", layer->name, version, layer->name, alpn, layer->name, asked);
}

static void report(struct peer *peer) {
    const char *end = peer->inner.ended                 ? "clean"
                      : tls_is_truncation(peer->failure) ? "truncated"
                      : peer->failure                     ? "error"
                                                          : "none";
    printf("end=%s received=%lld wrong=%lld outer_end=%s", end, peer->received, peer->wrong,
           peer->outer.ended ? "clean" : "unclean");
    if (peer->failure && !peer->inner.ended) {
        char reason[256];
        tls_explain(peer->at, peer->failure, reason, sizeof reason);
        for (char *c = reason; *c; c++)
            if (*c == ' ') *c = '_';
        printf(" layer=%s reason=%s", peer->at->name, reason);
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
    printf("%s\n", library());
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
