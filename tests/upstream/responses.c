#include "endpoints.h"
void responses_handle(struct conn *c, struct slice rest) { (void)rest; misc_echo(c); }
