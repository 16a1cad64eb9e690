/* What a library of TLS does for peer.c. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { RECORD = 1 << 14 };

/* Bytes in order. */
struct queue {
    unsigned char *bytes;
    size_t start, end, size;
};

size_t length(const struct queue *queue);
void put(struct queue *queue, const void *from, size_t count);
size_t take(struct queue *queue, void *to, size_t most);

/* Of the conversation's words the one of this key. */
const char *word(const char *layer, const char *key);
void die(const char *what);

/* What the words say of a layer. */
struct terms {
    const char *version, *alpn, *name;
    char trust[512], own[512], key[512];
};

/* One TLS connection between two queues. */
struct layer {
    const char *name;
    bool server, established, ended, closed, input_ended, updates;
    size_t pad;
    struct queue incoming, outgoing;
    struct tls *tls;
};

/* The functions of the library. A failure is negative, and the library's own number. */

/* Its name and version. */
const char *library(void);
void tls_open(struct layer *layer, const struct terms *terms);
void tls_free(struct layer *layer);
/* 1 when it is done, 0 when it waits for input. */
int tls_shake_hands(struct layer *layer);
/* Bytes, or 0: now, or for ever, and then `ended` says so. */
ssize_t tls_receive(struct layer *layer, unsigned char *to, size_t most);
/* One record, whole: the queue takes all. */
int tls_send(struct layer *layer, const unsigned char *from, size_t count);
void tls_close(struct layer *layer);
int tls_update_keys(struct layer *layer, bool request);
/* Says to the other side what failed, where the library has not done so. */
void tls_alert(struct layer *layer, int failure);
bool tls_is_truncation(int failure);
/* Without spaces where `to` is filled. */
void tls_explain(struct layer *layer, int failure, char *to, size_t size);
/* Each "-" where there is none: the version's digits, the protocol, and, of servers, the name that was asked for. */
void tls_agreed(struct layer *layer, char version[8], char alpn[256], char asked[256]);
