/* What to change, by server. */
#include "sluice/doctor_front.h"

#include <string.h>

struct front_software {
    const char *word;
    enum front_server server;
};

/* The first that is found in the text counts. */
static const struct front_software front_software[] = {
    {"lighttpd", FRONT_LIGHTTPD},      {"nginx", FRONT_NGINX},   {"openresty", FRONT_NGINX},
    {"mod_fcgid", FRONT_APACHE_FCGID}, {"Apache", FRONT_APACHE},
};

static const char *const front_names[FRONT_COUNT] = {
    [FRONT_UNKNOWN] = "unknown",
    [FRONT_LIGHTTPD] = "lighttpd",
    [FRONT_NGINX] = "nginx",
    [FRONT_APACHE] = "Apache",
    [FRONT_APACHE_PROXY_FCGI] = "Apache mod_proxy_fcgi",
    [FRONT_APACHE_FCGID] = "Apache mod_fcgid",
};

/* {} stands for the number, {KiB} for the number in KiB, rounded up. An Apache module without a text of its
 * own has Apache's. */
static const char *const front_advice[FRONT_FAULT_COUNT][FRONT_COUNT] = {
    [FRONT_FAULT_UNREACHABLE] =
        {
            "start Sluice, and let the web server's user open its socket (LISTEN_MODE, LISTEN_GROUP)",
            [FRONT_LIGHTTPD] =
                "start Sluice; fastcgi.server's \"socket\" must name its LISTEN, and lighttpd's user "
                "open it (LISTEN_MODE, LISTEN_GROUP)",
            [FRONT_NGINX] =
                "start Sluice; fastcgi_pass must name its LISTEN, and nginx's user open it (LISTEN_MODE, "
                "LISTEN_GROUP)",
            [FRONT_APACHE] =
                "start Sluice; SetHandler \"proxy:unix:/...|fcgi://sluice\" must name its LISTEN, and "
                "Apache's user open it (LISTEN_MODE, LISTEN_GROUP)",
            [FRONT_APACHE_FCGID] =
                "see Apache's error log: the wrapper must be executable by Apache's user and start "
                "sluice with WORKERS=0",
        },
    [FRONT_FAULT_NOT_MAPPED] =
        {
            "hand the whole URL to Sluice, with REQUEST_URI as the client sent it, and set Sluice's "
            "BASE_PATH to what "
            "stands in front of /v1",
            [FRONT_LIGHTTPD] =
                "fastcgi.server = ( \"\" => (( ..., \"check-local\" => \"disable\" ))), and Sluice's "
                "BASE_PATH to what stands in front of /v1",
            [FRONT_NGINX] =
                "location / { fastcgi_pass ...; fastcgi_param REQUEST_URI $request_uri; }, and Sluice's "
                "BASE_PATH to what stands in front of /v1",
            [FRONT_APACHE] =
                "<Location \"/\"> SetHandler \"proxy:unix:/...|fcgi://sluice\" </Location>, without "
                "RewriteRule, and Sluice's BASE_PATH to what stands in front of /v1",
            [FRONT_APACHE_FCGID] =
                "AliasMatch \"^/\" \"/.../sluice.fcgi\" with SetHandler fcgid-script, and Sluice's "
                "BASE_PATH to what stands in front of /v1",
        },
    [FRONT_FAULT_AUTHORIZATION] =
        {
            "hand the header on as the variable HTTP_AUTHORIZATION (in Apache: CGIPassAuth On)",
            [FRONT_LIGHTTPD] = "remove what unsets the Authorization header (setenv.set-request-header)",
            [FRONT_NGINX] =
                "fastcgi_param HTTP_AUTHORIZATION $http_authorization; or remove the line that sets it to "
                "something else",
            [FRONT_APACHE] = "CGIPassAuth On",
        },
    [FRONT_FAULT_PATH] =
        {
            "hand REQUEST_URI on as the client sent it",
            [FRONT_LIGHTTPD] =
                "no setenv.add-environment of REQUEST_URI; and in a lighttpd that stands in front: "
                "server.http-parseopts = ( \"url-normalize\" => \"disable\" )",
            [FRONT_NGINX] = "fastcgi_param REQUEST_URI $request_uri;",
            [FRONT_APACHE] = "AllowEncodedSlashes NoDecode, and no RewriteRule",
        },
    [FRONT_FAULT_BODY] =
        {
            "raise the limit to {} bytes, or lower Sluice's MAX_BODY_BYTES",
            [FRONT_LIGHTTPD] = "server.max-request-size = {KiB}",
            [FRONT_NGINX] = "client_max_body_size {};",
            [FRONT_APACHE] = "LimitRequestBody {}",
            [FRONT_APACHE_FCGID] = "FcgidMaxRequestLen {} and LimitRequestBody {}",
        },
    [FRONT_FAULT_BUFFERING] =
        {
            "switch response buffering off",
            [FRONT_LIGHTTPD] = "server.stream-response-body = 2",
            [FRONT_NGINX] = "fastcgi_buffering off; and proxy_buffering off; in an nginx further out, and no "
                            "fastcgi_ignore_headers X-Accel-Buffering",
            [FRONT_APACHE] =
                "with mod_proxy_fcgi: <Proxy \"fcgi://sluice/\"> ProxySet flushpackets=on </Proxy>; with "
                "mod_fcgid: FcgidOutputBufferSize 0",
            [FRONT_APACHE_PROXY_FCGI] = "<Proxy \"fcgi://sluice/\"> ProxySet flushpackets=on </Proxy>",
            [FRONT_APACHE_FCGID] = "FcgidOutputBufferSize 0",
        },
    [FRONT_FAULT_COMPRESSION] =
        {
            "switch compression of text/event-stream off",
            [FRONT_LIGHTTPD] = "remove text/event-stream (and \"text/\") from deflate.mimetypes",
            [FRONT_NGINX] = "gzip off; or remove text/event-stream from gzip_types",
            [FRONT_APACHE] = "SetEnv no-gzip 1",
        },
    [FRONT_FAULT_SILENCE] =
        {
            "raise the time limit for a silent response beyond {} seconds, to 900",
            [FRONT_LIGHTTPD] = "fastcgi.server's \"read-timeout\" => 900, and server.max-write-idle = 900",
            [FRONT_NGINX] = "fastcgi_read_timeout 900s;",
            [FRONT_APACHE] = "ProxyTimeout 900 and TimeOut 900; with mod_fcgid: FcgidIOTimeout 900",
            [FRONT_APACHE_PROXY_FCGI] = "ProxyTimeout 900 (or timeout=900 in ProxySet)",
            [FRONT_APACHE_FCGID] = "FcgidIOTimeout 900 and FcgidBusyTimeout 3600",
        },
    [FRONT_FAULT_DEPARTURE] =
        {
            "let the web server close its FastCGI connection when its client leaves",
            [FRONT_LIGHTTPD] = "\"tcp-fin-propagate\" => \"enable\" in fastcgi.server, and "
                               "server.stream-response-body = 2",
            [FRONT_NGINX] = "fastcgi_ignore_client_abort off; and fastcgi_buffering off;",
            [FRONT_APACHE] =
                "with mod_proxy_fcgi: ProxySet flushpackets=on; with mod_fcgid: FcgidOutputBufferSize 0",
            [FRONT_APACHE_PROXY_FCGI] = "ProxySet flushpackets=on",
            [FRONT_APACHE_FCGID] = "FcgidOutputBufferSize 0",
        },
    [FRONT_FAULT_SILENT_DEPARTURE] =
        {
            "let the web server watch its client while it waits for Sluice",
            [FRONT_LIGHTTPD] = "\"tcp-fin-propagate\" => \"enable\" in fastcgi.server",
            [FRONT_NGINX] = "fastcgi_ignore_client_abort off;",
            [FRONT_APACHE] = "nothing: Apache looks after its client only when it writes",
        },
    [FRONT_FAULT_HTTP10] =
        {
            "answer HTTP/1.1 requests with HTTP/1.1 in the server that stands in front",
            [FRONT_LIGHTTPD] = "server.protocol-http11 = \"enable\"",
            [FRONT_NGINX] = "proxy_http_version 1.1; in the nginx that stands in front of this server",
            [FRONT_APACHE] = "remove SetEnv/BrowserMatch of downgrade-1.0 and force-response-1.0",
        },
    [FRONT_FAULT_CHUNKED] =
        {
            "let the web server answer with Transfer-Encoding: chunked",
            [FRONT_NGINX] = "chunked_transfer_encoding on;",
        },
    [FRONT_FAULT_TLS] =
        {
            "serve this name with TLS only",
            [FRONT_LIGHTTPD] = "ssl.engine = \"enable\" with ssl.pemfile and ssl.privkey",
            [FRONT_NGINX] = "listen 443 ssl http2; with ssl_certificate and ssl_certificate_key",
            [FRONT_APACHE] = "SSLEngine on with SSLCertificateFile and SSLCertificateKeyFile",
        },
    [FRONT_FAULT_OPEN_PAGES] =
        {
            "allow them to this machine only",
            [FRONT_LIGHTTPD] =
                "$HTTP[\"url\"] =~ \"^/(metrics|status)$\" { $HTTP[\"remoteip\"] != \"127.0.0.1\" { "
                "url.access-deny = ( \"\" ) } }",
            [FRONT_NGINX] = "location ~ ^/(metrics|status)$ { allow 127.0.0.1; deny all; ... }",
            [FRONT_APACHE] = "<LocationMatch \"^/(metrics|status)$\"> Require local </LocationMatch>",
        },
    [FRONT_FAULT_ERROR_PAGES] =
        {
            "give the web server error pages in OpenAI's JSON form",
            [FRONT_LIGHTTPD] = "server.errorfile-prefix and mimetype.assign as in deploy/lighttpd",
            [FRONT_NGINX] = "error_page with a location that returns JSON, as in deploy/nginx",
            [FRONT_APACHE] = "ErrorDocument with JSON files",
        },
};

enum front_server front_detect(struct slice software, bool proxied)
{
    for (size_t i = 0; i < sizeof front_software / sizeof *front_software; i++) {
        const struct front_software *s = &front_software[i];
        bool apache = s->server == FRONT_APACHE || s->server == FRONT_APACHE_FCGID;
        if (software.len > 0 && memmem(software.ptr, software.len, s->word, strlen(s->word)))
            return apache && proxied ? FRONT_APACHE_PROXY_FCGI : s->server;
    }
    return proxied ? FRONT_APACHE_PROXY_FCGI : FRONT_UNKNOWN;
}

const char *front_name(enum front_server server)
{
    return front_names[server];
}

static const char *front_text(enum front_server server, enum front_fault fault)
{
    const char *const *texts = front_advice[fault];
    if (!texts[server] && (server == FRONT_APACHE_FCGID || server == FRONT_APACHE_PROXY_FCGI))
        server = FRONT_APACHE;
    return texts[server] ? texts[server] : texts[FRONT_UNKNOWN];
}

bool front_put_advice(struct buf *b, enum front_server server, enum front_fault fault, int64_t number)
{
    static const struct slice plain = {"{}", 2}, kib = {"{KiB}", 5};
    struct slice rest = slice_from_text(front_text(server, fault));
    bool ok = true;
    while (ok && rest.len > 0) {
        if (slice_starts_with(rest, plain) || slice_starts_with(rest, kib)) {
            bool in_kib = rest.ptr[1] != '}';
            ok = buf_printf(b, "%lld", (long long)(in_kib ? (number + 1023) / 1024 : number));
            rest = slice_skip(rest, in_kib ? kib.len : plain.len);
        } else {
            ok = buf_append_char(b, rest.ptr[0]);
            rest = slice_skip(rest, 1);
        }
    }
    return ok;
}
