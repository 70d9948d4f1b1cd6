#include "endpoints.h"
void objects_handle(struct conn *c, struct slice rest) { (void)rest; misc_echo(c); }
