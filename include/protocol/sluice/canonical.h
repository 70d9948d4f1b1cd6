/*
 * The canonical form of a JSON text: two texts have the same form if and only if they say the same.
 *
 *   - The order of an object's members does not count; the order of an array's elements does.
 *   - White space does not count, nor how a string is escaped: "\u0041" is "A", "\/" is "/".
 *   - Numbers are compared by value, digit by digit and never as a double: 0, -0, 0.0 and 0e9 are one, and so
 * are 1, 1.0 and 10e-1; 9007199254740993 and 9007199254740992 are two. (Exponents of more than 15 digits are
 * compared as written: equal values may then differ in form, but different values never agree.)
 *   - Of several members with the same name the last counts, as most parsers take it.
 *   - null is not the same as absent.
 *   - At the top level, members that the caller lists are left out.
 *
 * The cost is bounded: a text of more than CANONICAL_BYTES_MAX bytes, or with more members than
 * CANONICAL_MEMBERS_MAX in all its objects, is refused.
 */
#ifndef SLUICE_CANONICAL_H
#define SLUICE_CANONICAL_H

#include "sluice/buf.h"
#include "sluice/digest.h"

enum { CANONICAL_BYTES_MAX = 4 * 1024 * 1024, CANONICAL_MEMBERS_MAX = 32 * 1024 };

enum canonical_result {
    CANONICAL_OK,
    CANONICAL_NOT_JSON,    /* as json_scan.h judges */
    CANONICAL_TOO_COMPLEX, /* beyond a bound */
    CANONICAL_FAILED       /* no memory, or out's cap */
};

/* ignored: names of top-level members that do not count, NULL at the end; or NULL. The form is JSON again,
 * and its own canonical form. */
enum canonical_result canonical_write(struct slice json, const char *const *ignored, struct buf *out);

/* SHA-256 of prefix and of the canonical form behind it. */
enum canonical_result canonical_digest(struct slice prefix, struct slice json, const char *const *ignored,
                                       struct digest *out);

#endif
