/* Nested mutual TLS over non-blocking sockets with a poll() loop of its own: a client and a server.
 *
 *   nested server DIRECTORY             prints "listening on PORT", serves one connection
 *   nested client DIRECTORY PORT [HOST-PIN [OWN]]
 *
 * DIRECTORY has the certificates that capi/check.sh makes. The client asks with a megabyte and closes its direction; the
 * server answers with three, the first of them while it is still being asked, and closes. HOST-PIN is the certificate
 * that the client expects of the host, OWN the one that it presents inside. "vanish" in the place of OWN ends the client
 * in the middle of its question. Exit status 1 is a failure that was told. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nested_tls.h"

#define MEGABYTE ((size_t)1 << 20)
#define SECONDS 30

static void die(const char *what) {
    perror(what);
    exit(2);
}

/* What a layer has to say about a status that is not OK. */
static void check_layer(nested_tls_status status, nested_tls_layer *layer) {
    if (status == NESTED_TLS_STATUS_OK) return;
    fprintf(stderr, "settings: %s\n", nested_tls_layer_error(layer, NESTED_TLS_FIELD_MESSAGE));
    exit(1);
}

/* A whole file. The caller frees it. */
static unsigned char *read_file(const char *directory, const char *name, size_t *len) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    unsigned char *bytes = malloc(1 << 16);
    if (!bytes) die("malloc");
    *len = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

/* A layer that presents `own` and trusts `trusted`: that very certificate, or what it issued. */
static nested_tls_layer *make_layer(nested_tls_side side, const char *directory, const char *own, const char *trusted,
                                    bool pinned) {
    nested_tls_layer *layer = nested_tls_layer_new(side);
    if (!layer) die("nested_tls_layer_new");
    char name[256];
    size_t chain_len, key_len, trusted_len;
    snprintf(name, sizeof name, "%s.pem", own);
    unsigned char *chain = read_file(directory, name, &chain_len);
    snprintf(name, sizeof name, "%s.key", own);
    unsigned char *key = read_file(directory, name, &key_len);
    check_layer(nested_tls_layer_own_certificate(layer, chain, chain_len, key, key_len), layer);
    snprintf(name, sizeof name, "%s.pem", trusted);
    unsigned char *trust = read_file(directory, name, &trusted_len);
    if (pinned) {
        check_layer(nested_tls_layer_pin_certificate(layer, trust, trusted_len), layer);
    } else {
        check_layer(nested_tls_layer_trust_roots(layer, trust, trusted_len), layer);
        if (side == NESTED_TLS_SIDE_CLIENT) check_layer(nested_tls_layer_no_name_check(layer), layer);
    }
    free(chain);
    memset(key, 0, key_len);
    free(key);
    free(trust);
    return layer;
}

/* One end of a conversation. */
struct end {
    nested_tls_connection *connection;
    bool client, vanishes;
    /* What is still to say before and after the other side's end, and whether ours is said. */
    size_t now, then;
    bool closed, ended;
    size_t sent, received;
};

/* Every byte of either direction is known. */
static unsigned char expected(bool from_client, size_t at) {
    return (unsigned char)(at % 251 + (from_client ? 0 : 4));
}

static void tell(const char *when, struct end *end, nested_tls_status status) {
    nested_tls_connection *connection = end->connection;
    fprintf(stderr, "%s: %s\n", when, nested_tls_connection_error(connection, NESTED_TLS_FIELD_MESSAGE));
    fprintf(stderr, "  status %s, layer %s, phase %s\n", nested_tls_status_text(status),
            nested_tls_connection_error(connection, NESTED_TLS_FIELD_LAYER),
            nested_tls_connection_error(connection, NESTED_TLS_FIELD_PHASE));
}

static void events(struct end *end) {
    static const char *const words[] = {
        [NESTED_TLS_EVENT_OUTER_ESTABLISHED] = "outer layer established",
        [NESTED_TLS_EVENT_INNER_ESTABLISHED] = "inner layer established",
        [NESTED_TLS_EVENT_OUTER_PEER_CLOSED] = "the peer closed the outer layer",
        [NESTED_TLS_EVENT_INNER_PEER_CLOSED] = "the peer closed the inner layer",
        [NESTED_TLS_EVENT_OUTER_UNCLEAN] = "the outer layer was left open",
        [NESTED_TLS_EVENT_CLOSED] = "closed",
    };
    nested_tls_event event;
    while (nested_tls_poll_event(end->connection, &event) == NESTED_TLS_STATUS_OK && event != NESTED_TLS_EVENT_NONE)
        printf("%s: %s\n", end->client ? "client" : "server", words[event]);
}

/* Reads what has come, and says what is to be said, as far as the connection takes it. */
static void converse(struct end *end) {
    const unsigned char *bytes;
    size_t len;
    bool over;
    while (nested_tls_plain_out(end->connection, &bytes, &len, &over) == NESTED_TLS_STATUS_OK && len > 0) {
        for (size_t i = 0; i < len; i++) {
            if (bytes[i] == expected(!end->client, end->received + i)) continue;
            fprintf(stderr, "byte %zu is wrong\n", end->received + i);
            exit(2);
        }
        end->received += len;
        nested_tls_plain_consumed(end->connection, len);
    }
    end->ended |= over;
    if (end->ended) {
        end->now += end->then;
        end->then = 0;
    }
    while (end->now > 0) {
        unsigned char piece[5000];
        size_t count = end->now < sizeof piece ? end->now : sizeof piece, taken;
        for (size_t i = 0; i < count; i++) piece[i] = expected(end->client, end->sent + i);
        if (nested_tls_plain_write(end->connection, piece, count, &taken) != NESTED_TLS_STATUS_OK || taken == 0) return;
        end->sent += taken;
        end->now -= taken;
    }
    if (end->now == 0 && end->then == 0 && !end->closed) {
        end->closed = true;
        nested_tls_close_write(end->connection);
    }
    /* Both directions are over: the outer layer may end, too. */
    if (end->closed && end->ended) nested_tls_close(end->connection);
}

/* Writes what there is to write. */
static void send_all(struct end *end, int socket) {
    const unsigned char *bytes;
    size_t len;
    while (nested_tls_wire_out(end->connection, &bytes, &len) == NESTED_TLS_STATUS_OK && len > 0) {
        ssize_t count = send(socket, bytes, len, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            /* What is left to say reaches nobody; what has come can be read all the same. */
            count = (ssize_t)len;
        }
        nested_tls_wire_sent(end->connection, (size_t)count);
    }
}

/* Runs one end until both directions are over. */
static int run(struct end *end, int socket) {
    for (;;) {
        events(end);
        converse(end);
        send_all(end, socket);
        nested_tls_status failure = nested_tls_failure(end->connection);
        if (failure != NESTED_TLS_STATUS_OK) {
            tell(end->client ? "client" : "server", end, failure);
            return 1;
        }
        if (end->vanishes && end->sent > MEGABYTE / 4) return 0;
        uint32_t wants;
        nested_tls_wants(end->connection, &wants);
        /* What has left made room for more. */
        if (end->now > 0 && (wants & NESTED_TLS_WANT_PLAIN_WRITE)) continue;
        bool writes = wants & NESTED_TLS_WANT_WIRE_OUT;
        if (end->closed && end->ended && !writes) return 0;

        struct pollfd waits = {socket, 0, 0};
        if (writes) waits.events |= POLLOUT;
        if (wants & NESTED_TLS_WANT_WIRE_IN) waits.events |= POLLIN;
        int ready = poll(&waits, 1, SECONDS * 1000);
        if (ready < 0 && errno != EINTR) die("poll");
        if (ready == 0) {
            fprintf(stderr, "nothing for %d seconds\n", SECONDS);
            return 2;
        }
        if (!(waits.revents & (POLLIN | POLLHUP | POLLERR))) continue;
        unsigned char *space;
        size_t len;
        if (nested_tls_wire_in(end->connection, &space, &len) != NESTED_TLS_STATUS_OK || len == 0) continue;
        ssize_t count = recv(socket, space, len, 0);
        /* The failure, if there is one, is looked at above. A reset is an end, too. */
        if (count > 0) {
            nested_tls_wire_received(end->connection, (size_t)count);
        } else if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            nested_tls_wire_received(end->connection, 0);
        } else {
            nested_tls_wire_eof(end->connection);
        }
    }
}

static int listen_and_accept(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1)) die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size)) die("getsockname");
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct pollfd waits = {listener, POLLIN, 0};
    if (poll(&waits, 1, SECONDS * 1000) != 1) die("nobody connects");
    int accepted = accept(listener, NULL, NULL);
    if (accepted < 0) die("accept");
    close(listener);
    return accepted;
}

static int connect_to(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connected = socket(AF_INET, SOCK_STREAM, 0);
    if (connected < 0 || connect(connected, (struct sockaddr *)&address, sizeof address)) die("connect");
    return connected;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s server DIRECTORY | client DIRECTORY PORT [HOST-PIN [OWN]]\n", argv[0]);
        return 2;
    }
    struct end end = {.client = !strcmp(argv[1], "client")};
    const char *directory = argv[2], *pin = argc > 4 ? argv[4] : "host", *own = argc > 5 ? argv[5] : "user";
    nested_tls_layer *outer, *inner;
    int socket;
    if (end.client) {
        if (argc < 4) return 2;
        end.vanishes = !strcmp(own, "vanish");
        outer = make_layer(NESTED_TLS_SIDE_CLIENT, directory, "client", pin, true);
        inner = make_layer(NESTED_TLS_SIDE_CLIENT, directory, end.vanishes ? "user" : own, "customer", false);
        end.now = MEGABYTE;
        socket = connect_to(argv[3]);
    } else {
        outer = make_layer(NESTED_TLS_SIDE_SERVER, directory, "host", "client", true);
        inner = make_layer(NESTED_TLS_SIDE_SERVER, directory, "hsm", "customer", false);
        end.now = MEGABYTE;
        end.then = 2 * MEGABYTE;
        socket = listen_and_accept();
    }
    if (fcntl(socket, F_SETFL, O_NONBLOCK)) die("fcntl");
    check_layer(nested_tls_connection_new(outer, &end.connection), outer);
    nested_tls_status nested = nested_tls_nest(end.connection, inner);
    /* A connection has copied what it needs. */
    nested_tls_layer_free(outer);
    nested_tls_layer_free(inner);
    int status = 1;
    if (nested == NESTED_TLS_STATUS_OK) {
        status = run(&end, socket);
    } else {
        tell("nest", &end, nested);
    }
    events(&end);
    printf("%s: sent %zu, received %zu\n", argv[1], end.sent, end.received);
    nested_tls_connection_free(end.connection);
    /* Unread bytes would make of this a reset, which can overtake an alert. */
    shutdown(socket, SHUT_WR);
    unsigned char rest[4096];
    struct pollfd waits = {socket, POLLIN, 0};
    while (!end.vanishes && poll(&waits, 1, 1000) == 1) {
        ssize_t count = recv(socket, rest, sizeof rest, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN)) break;
    }
    close(socket);
    return status;
}
