#include "endpoints.h"
void audio_handle(struct conn *c, struct slice rest) { (void)rest; misc_echo(c); }
