/* wolfSSL, for peer.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/options.h>
/* The others want the options first. */
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

#include "peer.h"

struct tls {
    WOLFSSL_CTX *context;
    WOLFSSL *connection;
    char alpn[256], asked[256];
};

static void check(int code, const char *what) {
    if (code != WOLFSSL_SUCCESS) {
        fprintf(stderr, "%s: %d\n", what, code);
        exit(1);
    }
}

static int pull(WOLFSSL *connection, char *to, int most, void *at) {
    struct layer *layer = at;
    (void)connection;
    if (length(&layer->incoming)) return (int)take(&layer->incoming, to, (size_t)most);
    return layer->input_ended ? WOLFSSL_CBIO_ERR_CONN_CLOSE : WOLFSSL_CBIO_ERR_WANT_READ;
}

static int push(WOLFSSL *connection, char *from, int count, void *at) {
    (void)connection;
    put(&((struct layer *)at)->outgoing, from, (size_t)count);
    return count;
}

static int hear(WOLFSSL *connection, int *alert, void *at) {
    void *name = NULL;
    (void)alert;
    unsigned short size = wolfSSL_SNI_GetRequest(connection, WOLFSSL_SNI_HOST_NAME, &name);
    snprintf(((struct tls *)at)->asked, sizeof((struct tls *)at)->asked, "%.*s", (int)size, (char *)name);
    return 0;
}

const char *library(void) {
    static char name[64];
    check(wolfSSL_Init(), "init");
    snprintf(name, sizeof name, "wolfSSL %s", wolfSSL_lib_version());
    return name;
}

void tls_open(struct layer *layer, const struct terms *terms) {
    struct tls *tls = layer->tls = calloc(1, sizeof *tls);
    if (!tls) die("calloc");
    bool new = !strcmp(terms->version, "1.3");
    WOLFSSL_METHOD *method = layer->server ? (new ? wolfTLSv1_3_server_method() : wolfTLSv1_2_server_method())
                                           : (new ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
    tls->context = wolfSSL_CTX_new(method);
    if (!tls->context) die("wolfSSL_CTX_new");
    check(wolfSSL_CTX_load_verify_locations(tls->context, terms->trust, NULL), terms->trust);
    check(wolfSSL_CTX_use_certificate_chain_file(tls->context, terms->own), terms->own);
    check(wolfSSL_CTX_use_PrivateKey_file(tls->context, terms->key, WOLFSSL_FILETYPE_PEM), terms->key);
    /* The certificates have no names: the chain is all that is looked at. */
    wolfSSL_CTX_set_verify(tls->context, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    wolfSSL_CTX_SetIORecv(tls->context, pull);
    wolfSSL_CTX_SetIOSend(tls->context, push);
    if (layer->server) {
        wolfSSL_CTX_set_servername_callback(tls->context, hear);
        wolfSSL_CTX_set_servername_arg(tls->context, tls);
    }
    tls->connection = wolfSSL_new(tls->context);
    if (!tls->connection) die("wolfSSL_new");
    wolfSSL_SetIOReadCtx(tls->connection, layer);
    wolfSSL_SetIOWriteCtx(tls->connection, layer);
    char alpn[256];
    snprintf(alpn, sizeof alpn, "%s", terms->alpn);
    check(wolfSSL_UseALPN(tls->connection, alpn, (unsigned)strlen(alpn), WOLFSSL_ALPN_FAILED_ON_MISMATCH), "ALPN");
    if (!layer->server)
        check(wolfSSL_UseSNI(tls->connection, WOLFSSL_SNI_HOST_NAME, terms->name, (unsigned short)strlen(terms->name)), "name");
}

void tls_free(struct layer *layer) {
    wolfSSL_free(layer->tls->connection);
    wolfSSL_CTX_free(layer->tls->context);
    free(layer->tls);
}

/* 1 when it is done, 0 when it waits for input, else the failure. */
static int went(struct layer *layer, int code) {
    if (code > 0) return 1;
    int error = wolfSSL_get_error(layer->tls->connection, code);
    return error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE ? 0 : error > 0 ? -error : error;
}

int tls_shake_hands(struct layer *layer) {
    struct tls *tls = layer->tls;
    int code = went(layer, wolfSSL_negotiate(tls->connection));
    /* Later it has forgotten it. */
    char *protocol;
    unsigned short size;
    if (code == 1 && wolfSSL_ALPN_GetProtocol(tls->connection, &protocol, &size) == WOLFSSL_SUCCESS)
        snprintf(tls->alpn, sizeof tls->alpn, "%.*s", (int)size, protocol);
    return code;
}

ssize_t tls_receive(struct layer *layer, unsigned char *to, size_t most) {
    if (layer->ended) return 0;
    int count = wolfSSL_read(layer->tls->connection, to, (int)most);
    if (count > 0) return count;
    layer->ended = wolfSSL_get_error(layer->tls->connection, count) == WOLFSSL_ERROR_ZERO_RETURN;
    return layer->ended ? 0 : went(layer, count);
}

int tls_send(struct layer *layer, const unsigned char *from, size_t count) {
    int sent = wolfSSL_write(layer->tls->connection, from, (int)count);
    return sent == (int)count ? 0 : went(layer, sent);
}

void tls_close(struct layer *layer) { wolfSSL_shutdown(layer->tls->connection); }

int tls_update_keys(struct layer *layer, bool request) {
    /* It always asks for new keys of the other side. */
    (void)request;
    int code = wolfSSL_update_keys(layer->tls->connection);
    return code == WOLFSSL_SUCCESS ? 0 : code;
}

/* It does so itself. */
void tls_alert(struct layer *layer, int failure) { (void)layer, (void)failure; }

bool tls_is_truncation(int failure) { return failure == SOCKET_ERROR_E || failure == SOCKET_PEER_CLOSED_E; }

void tls_explain(struct layer *layer, int failure, char *to, size_t size) {
    WOLFSSL_ALERT_HISTORY history;
    char text[WOLFSSL_MAX_ERROR_SZ];
    wolfSSL_ERR_error_string_n((unsigned long)-failure, text, sizeof text);
    wolfSSL_get_alert_history(layer->tls->connection, &history);
    int alert = history.last_rx.code;
    if (alert >= 0) snprintf(to, size, "%s:alert %d", text, alert);
    else snprintf(to, size, "%s", text);
}

void tls_agreed(struct layer *layer, char version[8], char alpn[256], char asked[256]) {
    WOLFSSL *connection = layer->tls->connection;
    const char *name = wolfSSL_get_version(connection);
    if (!strncmp(name, "TLSv", 4)) snprintf(version, 8, "%s", name + 4);
    if (*layer->tls->alpn) snprintf(alpn, 256, "%s", layer->tls->alpn);
    if (*layer->tls->asked) snprintf(asked, 256, "%s", layer->tls->asked);
}
