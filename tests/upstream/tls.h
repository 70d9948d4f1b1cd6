#ifndef SIM_TLS_H
#define SIM_TLS_H

#include <event2/bufferevent.h>
#include <openssl/ssl.h>

/* NULL (with a message on stderr) when the files cannot be used. */
SSL_CTX *tls_load(const char *cert_file, const char *key_file);
struct bufferevent *tls_bufferevent_new(struct event_base *base, SSL_CTX *ctx, evutil_socket_t fd);

/* Says goodbye properly, so that the peer does not see a truncation. */
void tls_close_notify(struct bufferevent *bev);

#endif
