/* GnuTLS, for peer.c. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

struct tls {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t tickets;
};

static void check(int code, const char *what) {
    if (code < 0) {
        fprintf(stderr, "%s: %s\n", what, gnutls_strerror(code));
        exit(1);
    }
}

static ssize_t pull(gnutls_transport_ptr_t at, void *to, size_t most) {
    struct layer *layer = at;
    if (!length(&layer->incoming) && !layer->input_ended) {
        gnutls_transport_set_errno(layer->tls->session, EAGAIN);
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

const char *library(void) {
    static char name[64];
    snprintf(name, sizeof name, "GnuTLS %s", gnutls_check_version(NULL));
    return name;
}

void tls_open(struct layer *layer, const struct terms *terms) {
    struct tls *tls = layer->tls = calloc(1, sizeof *tls);
    if (!tls) die("calloc");
    check(gnutls_certificate_allocate_credentials(&tls->credentials), "credentials");
    check(gnutls_certificate_set_x509_trust_file(tls->credentials, terms->trust, GNUTLS_X509_FMT_PEM), terms->trust);
    check(gnutls_certificate_set_x509_key_file(tls->credentials, terms->own, terms->key, GNUTLS_X509_FMT_PEM), terms->own);
    gnutls_certificate_set_verify_function(tls->credentials, verify);

    unsigned role = layer->server ? GNUTLS_SERVER : GNUTLS_CLIENT;
    check(gnutls_init(&tls->session, role | GNUTLS_NONBLOCK | GNUTLS_FORCE_CLIENT_CERT), "init");
    char priority[64];
    snprintf(priority, sizeof priority, "NORMAL:-VERS-ALL:+VERS-TLS%s", terms->version);
    check(gnutls_priority_set_direct(tls->session, priority, NULL), priority);
    check(gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials), "credentials");
    gnutls_datum_t protocol = {(unsigned char *)terms->alpn, (unsigned)strlen(terms->alpn)};
    check(gnutls_alpn_set_protocols(tls->session, &protocol, 1, GNUTLS_ALPN_MANDATORY), "ALPN");
    if (layer->server) {
        gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUIRE);
        check(gnutls_session_ticket_key_generate(&tls->tickets), "tickets");
        check(gnutls_session_ticket_enable_server(tls->session, &tls->tickets), "tickets");
    } else {
        check(gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, terms->name, strlen(terms->name)), "name");
    }
    gnutls_transport_set_ptr(tls->session, layer);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_pull_timeout_function(tls->session, pull_timeout);
    gnutls_transport_set_push_function(tls->session, push);
}

void tls_free(struct layer *layer) {
    gnutls_deinit(layer->tls->session);
    gnutls_certificate_free_credentials(layer->tls->credentials);
    gnutls_free(layer->tls->tickets.data);
    free(layer->tls);
}

/* 1 when it is done, 0 when it waits for input, else the failure. GnuTLS also says "again" after a record that was no
 * data, with more at hand: only where nothing was taken is there nothing to take. */
static int went(struct layer *layer, size_t before, int code) {
    if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED || code == GNUTLS_E_WARNING_ALERT_RECEIVED)
        return length(&layer->incoming) < before ? GNUTLS_E_AGAIN : 0;
    return code < 0 ? code : 1;
}

int tls_shake_hands(struct layer *layer) {
    int code;
    do {
        size_t before = length(&layer->incoming);
        code = went(layer, before, gnutls_handshake(layer->tls->session));
    } while (code == GNUTLS_E_AGAIN);
    return code;
}

ssize_t tls_receive(struct layer *layer, unsigned char *to, size_t most) {
    while (!layer->ended) {
        size_t before = length(&layer->incoming);
        ssize_t count = gnutls_record_recv(layer->tls->session, to, most);
        if (count > 0) return count;
        layer->ended = count == 0;
        int code = went(layer, before, (int)count);
        if (code != GNUTLS_E_AGAIN && code != 1) return code;
    }
    return 0;
}

int tls_send(struct layer *layer, const unsigned char *from, size_t count) {
    size_t pad = layer->pad ? (layer->pad - count % layer->pad) % layer->pad : 0;
    ssize_t sent = gnutls_record_send2(layer->tls->session, from, count, pad, 0);
    return sent < 0 ? (int)sent : 0;
}

void tls_close(struct layer *layer) { gnutls_bye(layer->tls->session, GNUTLS_SHUT_WR); }

int tls_update_keys(struct layer *layer, bool request) {
    return gnutls_session_key_update(layer->tls->session, request ? GNUTLS_KU_PEER : 0);
}

void tls_alert(struct layer *layer, int failure) { gnutls_alert_send_appropriate(layer->tls->session, failure); }

bool tls_is_truncation(int failure) { return failure == GNUTLS_E_PREMATURE_TERMINATION; }

void tls_explain(struct layer *layer, int failure, char *to, size_t size) {
    /* An alert in the place of a certificate is "no certificate" to it. */
    int alert = gnutls_alert_get(layer->tls->session);
    if (alert) snprintf(to, size, "%s:alert %d", gnutls_strerror(failure), alert);
    else snprintf(to, size, "%s", gnutls_strerror(failure));
}

void tls_agreed(struct layer *layer, char version[8], char alpn[256], char asked[256]) {
    gnutls_session_t session = layer->tls->session;
    const char *name = gnutls_protocol_get_name(gnutls_protocol_get_version(session));
    if (name) snprintf(version, 8, "%s", name + 3);
    gnutls_datum_t protocol = {0};
    gnutls_alpn_get_selected_protocol(session, &protocol);
    if (protocol.size) snprintf(alpn, 256, "%.*s", (int)protocol.size, (char *)protocol.data);
    size_t size = 256;
    unsigned type;
    if (layer->server && gnutls_server_name_get(session, asked, &size, &type, 0) < 0) strcpy(asked, "-");
}
