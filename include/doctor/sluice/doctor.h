/*
 * `sluice doctor`: asks a running installation through its front server, as a client would, and reports what
 * is wrong and which directive of that server to change. A client of its own: it knows nothing of the proxy
 * but its answers below /v1/_sluice.
 */
#ifndef SLUICE_DOCTOR_H
#define SLUICE_DOCTOR_H

/* argv[0] is "doctor". Gives the exit status: 0 nothing is wrong, 1 there are faults, 2 the command line is
 * wrong. A key on the command line is overwritten there. Waits as long as its checks take: every one is
 * bounded. */
int doctor_main(int argc, char **argv);

#endif
