/* URLs and socket addresses: checked once here, so that nobody else has to doubt them. */
#include "option_value.h"

#include "sluice/redis_url.h"

#include <arpa/inet.h>
#include <ctype.h>

enum { OPTION_URL_MAX = 2048, OPTION_HOST_MAX = 253 };

/* The first byte of set in text, or the text's length. */
static size_t option_find_any(struct slice text, const char *set)
{
    size_t i = 0;
    while (i < text.len && (text.ptr[i] == '\0' || !strchr(set, text.ptr[i])))
        i++;
    return i;
}

static bool option_is_host_name(struct slice host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!isalnum((unsigned char)host.ptr[i]) && !(host.ptr[i] && strchr(".-_", host.ptr[i])))
            return false;
    return host.len > 0 && host.len <= OPTION_HOST_MAX;
}

static bool option_is_ipv6(struct slice host)
{
    char text[INET6_ADDRSTRLEN] = {0};
    struct in6_addr address;
    if (host.len == 0 || host.len >= sizeof text || memchr(host.ptr, '\0', host.len))
        return false;
    memcpy(text, host.ptr, host.len);
    return inet_pton(AF_INET6, text, &address) == 1;
}

struct option_host_port {
    struct slice host; /* without brackets */
    struct slice port; /* digits; empty: none was written */
};

/* `host`, `host:port`, `[v6]` or `[v6]:port`; NULL, or what is wrong. */
static const char *option_split_host(struct slice text, struct option_host_port *out)
{
    bool bracket = text.len > 0 && text.ptr[0] == '[';
    size_t end = option_find_any(text, bracket ? "]" : ":");
    if (bracket && end == text.len)
        return "has no ] after its IPv6 address";
    out->host = bracket ? slice_skip(slice_take(text, end), 1) : slice_take(text, end);
    struct slice rest = slice_skip(text, bracket ? end + 1 : end);
    out->port = slice_skip(rest, 1);
    if (!bracket && memchr(out->port.ptr ? out->port.ptr : "", ':', out->port.len))
        return "has several colons; an IPv6 address needs [ and ] around it";
    if (bracket && !option_is_ipv6(out->host))
        return "has no IPv6 address between [ and ]";
    if (!bracket && !option_is_host_name(out->host))
        return out->host.len == 0 ? "has no host" : "has a host that is not a name or an address";
    int64_t port;
    if (rest.len > 0 &&
        (rest.ptr[0] != ':' || !option_parse_number(out->port, UINT16_MAX, &port) || port == 0))
        return "has a port that is not a number from 1 to 65535";
    return NULL;
}

struct option_url_parts {
    struct slice scheme;
    struct slice user; /* with its @ */
    struct slice host; /* and port, as written */
    struct slice path; /* empty, or / and what follows */
};

static bool option_split_url(struct slice url, struct option_url_parts *out)
{
    size_t colon = option_find_any(url, ":");
    struct slice rest = slice_skip(url, colon);
    if (!slice_starts_with(rest, SLICE_LITERAL("://")))
        return false;
    out->scheme = slice_take(url, colon);
    rest = slice_skip(rest, 3);
    struct slice authority = slice_take(rest, option_find_any(rest, "/?#"));
    out->path = slice_skip(rest, authority.len);
    size_t at = authority.len;
    while (at > 0 && authority.ptr[at - 1] != '@')
        at--;
    out->user = slice_take(authority, at);
    out->host = slice_skip(authority, at);
    return true;
}

static bool option_scheme_listed(const char *schemes, struct slice scheme)
{
    struct slice rest = slice_from_text(schemes);
    while (rest.len > 0) {
        size_t n = option_find_any(rest, " ");
        if (slice_equals_nocase(slice_take(rest, n), scheme))
            return true;
        rest = slice_skip(rest, n + 1);
    }
    return false;
}

static bool option_is_visible_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] >= 0x7F)
            return false;
    return true;
}

/* NULL, or what is wrong. */
static const char *option_check_url(const struct option_value *v, struct option_url_parts *parts)
{
    if (v->text.len > OPTION_URL_MAX)
        return "is too long";
    if (!option_is_visible_ascii(v->text))
        return "contains a blank, a control character or one that is not ASCII";
    if (!option_split_url(v->text, parts))
        return "is not a URL";
    if (!option_scheme_listed(v->option->schemes, parts->scheme))
        return "has the wrong scheme";
    if (option_find_any(parts->path, "?#") < parts->path.len)
        return "has a query or a fragment";
    if (parts->user.len > 0 && !v->option->user_info)
        return "has a user name";
    struct option_host_port ignored;
    return option_split_host(parts->host, &ignored);
}

bool option_set_url(const struct option_value *v, const char **field)
{
    struct option_url_parts parts = {0};
    const char *wrong = option_check_url(v, &parts);
    if (wrong)
        return option_reject(v, "%s", wrong);
    struct slice url = v->text;
    while (url.ptr[url.len - 1] == '/')
        url.len--;
    char *copy = arena_copy(&v->config->memory, url);
    if (!copy)
        return option_reject_memory(v);
    for (size_t i = 0; i < parts.scheme.len; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    char *host = copy + parts.scheme.len + strlen("://") + parts.user.len;
    for (size_t i = 0; i < parts.host.len; i++)
        host[i] = (char)tolower((unsigned char)host[i]);
    *field = copy;
    return true;
}

bool option_set_redis_url(const struct option_value *v, const char **field)
{
    struct redis_url parts;
    const char *wrong = redis_url_parse(v->text, &parts);
    explicit_bzero(&parts, sizeof parts);
    if (wrong)
        return option_reject(v, "%s", wrong);
    *field = arena_copy(&v->config->memory, v->text);
    return *field || option_reject_memory(v);
}

bool option_put_url(struct buf *b, struct slice url)
{
    struct option_url_parts parts;
    if (!memchr(url.ptr, '@', url.len))
        return buf_append_slice(b, url);
    if (!option_split_url(url, &parts) || parts.user.len == 0)
        return buf_append_text(b, "***"); /* an @ elsewhere: rather hide too much than a password */
    size_t scheme = parts.scheme.len + strlen("://");
    return buf_append_slice(b, slice_take(url, scheme)) && buf_append_text(b, "***:***@") &&
           buf_append_slice(b, slice_skip(url, scheme + parts.user.len));
}

static bool option_set_unix_path(const struct option_value *v, struct slice path,
                                 struct config_address *field)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return option_reject(v, "is not an absolute path");
    if (path.len > OPTION_UNIX_PATH_MAX)
        return option_reject(v, "has a path of %zu bytes, which no socket can have", path.len);
    if (option_has_control(path))
        return option_reject(v, "contains a control character");
    char *copy = arena_copy(&v->config->memory, path);
    if (!copy)
        return option_reject_memory(v);
    *field = (struct config_address){.kind = CONFIG_ADDRESS_UNIX, .path = copy};
    return true;
}

static bool option_set_tcp(const struct option_value *v, struct config_address *field)
{
    struct option_host_port parts;
    const char *wrong = option_split_host(v->text, &parts);
    if (!wrong && parts.port.len == 0)
        wrong = "has no port";
    if (wrong)
        return option_reject(v, "%s", wrong);
    int64_t port = 0;
    option_parse_number(parts.port, UINT16_MAX, &port);
    char *host = arena_copy(&v->config->memory, parts.host);
    if (!host)
        return option_reject_memory(v);
    *field = (struct config_address){.kind = CONFIG_ADDRESS_TCP, .host = host, .port = (uint16_t)port};
    return true;
}

bool option_set_address(const struct option_value *v, struct config_address *field)
{
    struct slice scheme = SLICE_LITERAL("unix:");
    if (v->text.len == 0) {
        *field = (struct config_address){.kind = CONFIG_ADDRESS_INHERITED};
        return true;
    }
    if (slice_starts_with(v->text, scheme))
        return option_set_unix_path(v, slice_skip(v->text, scheme.len), field);
    if (v->text.ptr[0] == '/')
        return option_set_unix_path(v, v->text, field);
    return option_set_tcp(v, field);
}
