#include "endpoints.h"
void files_handle(struct conn *c, struct slice rest) { (void)rest; misc_echo(c); }
void sim_files_clear(struct sim *sim) { (void)sim; }
