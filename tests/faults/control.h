/*
 * What a test and a process with the interposer share: a mapped file, named by SLUICE_FAULTS. The test's side is
 * tests/system/harness/faults.py, which knows the same layout.
 *
 * One process is watched at a time. Its calls are counted by kind, and the countdown-th of the armed kind fails.
 */
#ifndef SLUICE_FAULTS_CONTROL_H
#define SLUICE_FAULTS_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

enum faults_kind {
    FAULTS_NONE,
    FAULTS_ALLOC,  /* malloc, calloc, realloc and what stands on them, strdup among them */
    FAULTS_READ,   /* read, readv, recv, recvfrom, recvmsg */
    FAULTS_WRITE,  /* write, writev, send, sendto, sendmsg */
    FAULTS_ACCEPT, /* accept, accept4 */
    FAULTS_MMAP,
    FAULTS_EPOLL,  /* epoll_ctl */
    FAULTS_WAIT,   /* epoll_wait */
    FAULTS_POLL,
    FAULTS_SOCKET,
    FAULTS_CONNECT,
    FAULTS_DESCRIPTOR, /* pipe2, eventfd, timerfd_create, open, socketpair */
    FAULTS_SETTING,    /* setsockopt, getsockopt, fcntl */
    FAULTS_DISK,       /* pread, pwrite */
    FAULTS_RANDOM,     /* getrandom */
    FAULTS_KINDS
};

/* In place of an errno: half of the bytes are read or written; the end of what there is to read. */
enum { FAULTS_SHORT = -1, FAULTS_END = -2 };

enum { FAULTS_TRACE_MAX = 24 };

struct faults_control {
    _Atomic uint64_t watched;   /* process id; 0: none */
    _Atomic uint64_t kind;      /* that fails */
    _Atomic int64_t error;      /* errno, or one of the above */
    _Atomic uint64_t countdown; /* 1: the next call; 0: none */
    _Atomic uint64_t failed;    /* calls that were made to fail */
    _Atomic int64_t blocks;     /* of memory, that are not freed */
    _Atomic int64_t bytes;
    _Atomic uint64_t counts[FAULTS_KINDS];
    _Atomic uint64_t trace_len;
    _Atomic uint64_t trace[FAULTS_TRACE_MAX]; /* return addresses of the last call that was made to fail */
};

#endif
