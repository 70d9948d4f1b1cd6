/*
 * Makes one call of a process fail: a library for LD_PRELOAD. Without SLUICE_FAULTS it does nothing.
 *
 * Calls that libfcgi makes for memory are counted but spared: it ends the process when one fails, so that Sluice asks
 * for as much before it calls it (src/loop/fcgi_wire.c), and that is what is made to fail instead.
 */
#include "control.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *block);
ssize_t __read_chk(int fd, void *to, size_t n, size_t room);
ssize_t __recv_chk(int fd, void *to, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t room, int flags, struct sockaddr *from, socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset);

static struct faults_control *faults_shared;
static uint64_t faults_pid;
static _Atomic int64_t faults_blocks, faults_bytes;
static uintptr_t faults_spared_from, faults_spared_to;

/* ---- what is armed ------------------------------------------------------------------------------------------ */

static int faults_find_spared(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (!strstr(info->dlpi_name, "libfcgi"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            faults_spared_from = info->dlpi_addr + part->p_vaddr;
            faults_spared_to = faults_spared_from + part->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void faults_start(void)
{
    const char *path = getenv("SLUICE_FAULTS");
    void *warm[1];
    faults_pid = (uint64_t)getpid();
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    backtrace(warm, 1); /* loads what it needs now, not in the middle of a call that fails */
    dl_iterate_phdr(faults_find_spared, NULL);
    void *shared = (void *)syscall(SYS_mmap, NULL, sizeof *faults_shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
    if (shared != MAP_FAILED)
        faults_shared = shared;
    close(fd);
}

pid_t fork(void)
{
    static pid_t (*real)(void);
    if (!real)
        real = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    pid_t pid = real();
    if (pid == 0)
        faults_pid = (uint64_t)getpid();
    return pid;
}

static bool faults_is_watched(void)
{
    return faults_shared && faults_shared->watched == faults_pid;
}

static void faults_note_trace(void)
{
    void *trace[FAULTS_TRACE_MAX];
    int n = backtrace(trace, FAULTS_TRACE_MAX);
    for (int i = 0; i < n; i++)
        faults_shared->trace[i] = (uint64_t)trace[i];
    faults_shared->trace_len = (uint64_t)n;
}

/* 0: the call is to be made; else what is to be done instead of it. */
static int64_t faults_look(enum faults_kind kind, const void *caller)
{
    struct faults_control *f = faults_shared;
    uintptr_t from = (uintptr_t)caller;
    if (!faults_is_watched())
        return 0;
    f->counts[kind]++;
    if (f->kind != kind || f->countdown == 0)
        return 0;
    if (kind == FAULTS_ALLOC && from >= faults_spared_from && from < faults_spared_to)
        return 0;
    if (atomic_fetch_sub(&f->countdown, 1) != 1)
        return 0;
    int64_t error = f->error;
    f->kind = FAULTS_NONE;
    faults_note_trace();
    f->failed++;
    if (error > 0)
        errno = (int)error;
    return error;
}

#define FAULTS_LOOK(kind) faults_look(kind, __builtin_return_address(0))
#define FAULTS_REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
        *(void **)&real = dlsym(RTLD_NEXT, #name)

/* ---- memory ------------------------------------------------------------------------------------------------- */

static void faults_account(const void *block, int sign)
{
    if (!block)
        return;
    faults_blocks += sign;
    faults_bytes += sign * (int64_t)malloc_usable_size((void *)(uintptr_t)block);
    if (faults_is_watched()) {
        faults_shared->blocks = faults_blocks;
        faults_shared->bytes = faults_bytes;
    }
}

static void *faults_accounted(void *block)
{
    faults_account(block, 1);
    return block;
}

void *malloc(size_t size)
{
    return FAULTS_LOOK(FAULTS_ALLOC) ? NULL : faults_accounted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return FAULTS_LOOK(FAULTS_ALLOC) ? NULL : faults_accounted(__libc_calloc(count, size));
}

void *realloc(void *block, size_t size)
{
    if (FAULTS_LOOK(FAULTS_ALLOC))
        return NULL;
    faults_account(block, -1);
    void *longer = __libc_realloc(block, size);
    faults_account(longer ? longer : size > 0 ? block : NULL, 1);
    return longer;
}

void *memalign(size_t align, size_t size)
{
    return FAULTS_LOOK(FAULTS_ALLOC) ? NULL : faults_accounted(__libc_memalign(align, size));
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **block, size_t align, size_t size)
{
    *block = memalign(align, size);
    return *block ? 0 : ENOMEM;
}

void free(void *block)
{
    faults_account(block, -1);
    __libc_free(block);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    FAULTS_REAL(mmap);
    return FAULTS_LOOK(FAULTS_MMAP) ? MAP_FAILED : real(at, len, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    FAULTS_REAL(mmap64);
    return FAULTS_LOOK(FAULTS_MMAP) ? MAP_FAILED : real(at, len, protection, flags, fd, offset);
}

/* ---- reading and writing ------------------------------------------------------------------------------------ */

static size_t faults_half(size_t n)
{
    return n > 1 ? n / 2 : n;
}

/* The first half of the pieces; room has as many places as there are pieces. */
static int faults_halve(const struct iovec *parts, int n, struct iovec *room)
{
    size_t total = 0, left;
    int used = 0;
    for (int i = 0; i < n; i++)
        total += parts[i].iov_len;
    left = faults_half(total);
    for (; used < n && left > 0; used++) {
        room[used] = parts[used];
        if (room[used].iov_len > left)
            room[used].iov_len = left;
        left -= room[used].iov_len;
    }
    return used;
}

#define FAULTS_TRANSFER(kind, n) \
    int64_t fault = FAULTS_LOOK(kind); \
    if (fault > 0) \
        return -1; \
    if (fault == FAULTS_END) \
        return 0; \
    if (fault == FAULTS_SHORT) \
        n = faults_half(n)

#define FAULTS_TRANSFER_PARTS(kind, parts, n, half, call) \
    int64_t fault = FAULTS_LOOK(kind); \
    if (fault > 0) \
        return -1; \
    if (fault == FAULTS_END) \
        return 0; \
    if (fault == FAULTS_SHORT && n <= (int)(sizeof half / sizeof *half)) { \
        n = faults_halve(parts, n, half); \
        parts = half; \
    } \
    return call

enum { FAULTS_PARTS_MAX = 64 };

ssize_t read(int fd, void *to, size_t n)
{
    FAULTS_REAL(read);
    FAULTS_TRANSFER(FAULTS_READ, n);
    return real(fd, to, n);
}

ssize_t __read_chk(int fd, void *to, size_t n, size_t room)
{
    FAULTS_REAL(__read_chk);
    FAULTS_TRANSFER(FAULTS_READ, n);
    return real(fd, to, n, room);
}

ssize_t recv(int fd, void *to, size_t n, int flags)
{
    FAULTS_REAL(recv);
    FAULTS_TRANSFER(FAULTS_READ, n);
    return real(fd, to, n, flags);
}

ssize_t __recv_chk(int fd, void *to, size_t n, size_t room, int flags)
{
    FAULTS_REAL(__recv_chk);
    FAULTS_TRANSFER(FAULTS_READ, n);
    return real(fd, to, n, room, flags);
}

ssize_t recvfrom(int fd, void *to, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
    FAULTS_REAL(recvfrom);
    FAULTS_TRANSFER(FAULTS_READ, n);
    return real(fd, to, n, flags, from, len);
}

ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t room, int flags, struct sockaddr *from, socklen_t *len)
{
    FAULTS_REAL(__recvfrom_chk);
    FAULTS_TRANSFER(FAULTS_READ, n);
    return real(fd, to, n, room, flags, from, len);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    FAULTS_REAL(recvmsg);
    int64_t fault = FAULTS_LOOK(FAULTS_READ);
    if (fault == FAULTS_END)
        return 0;
    return fault > 0 ? -1 : real(fd, message, flags);
}

ssize_t readv(int fd, const struct iovec *parts, int n)
{
    struct iovec half[FAULTS_PARTS_MAX];
    FAULTS_REAL(readv);
    FAULTS_TRANSFER_PARTS(FAULTS_READ, parts, n, half, real(fd, parts, n));
}

ssize_t write(int fd, const void *from, size_t n)
{
    FAULTS_REAL(write);
    FAULTS_TRANSFER(FAULTS_WRITE, n);
    return real(fd, from, n);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    FAULTS_REAL(send);
    FAULTS_TRANSFER(FAULTS_WRITE, n);
    return real(fd, from, n, flags);
}

ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
    FAULTS_REAL(sendto);
    FAULTS_TRANSFER(FAULTS_WRITE, n);
    return real(fd, from, n, flags, to, len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    FAULTS_REAL(sendmsg);
    int64_t fault = FAULTS_LOOK(FAULTS_WRITE);
    return fault > 0 ? -1 : real(fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    struct iovec half[FAULTS_PARTS_MAX];
    FAULTS_REAL(writev);
    FAULTS_TRANSFER_PARTS(FAULTS_WRITE, parts, n, half, real(fd, parts, n));
}

ssize_t pread(int fd, void *to, size_t n, off_t offset)
{
    FAULTS_REAL(pread);
    FAULTS_TRANSFER(FAULTS_DISK, n);
    return real(fd, to, n, offset);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t offset)
{
    FAULTS_REAL(pwrite);
    FAULTS_TRANSFER(FAULTS_DISK, n);
    return real(fd, from, n, offset);
}

/* ---- descriptors -------------------------------------------------------------------------------------------- */

int accept(int fd, struct sockaddr *from, socklen_t *len)
{
    FAULTS_REAL(accept);
    return FAULTS_LOOK(FAULTS_ACCEPT) ? -1 : real(fd, from, len);
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    FAULTS_REAL(accept4);
    return FAULTS_LOOK(FAULTS_ACCEPT) ? -1 : real(fd, from, len, flags);
}

int epoll_ctl(int fd, int what, int target, struct epoll_event *event)
{
    FAULTS_REAL(epoll_ctl);
    return FAULTS_LOOK(FAULTS_EPOLL) ? -1 : real(fd, what, target, event);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    FAULTS_REAL(epoll_wait);
    return FAULTS_LOOK(FAULTS_WAIT) ? -1 : real(fd, events, max, timeout);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    FAULTS_REAL(poll);
    return FAULTS_LOOK(FAULTS_POLL) ? -1 : real(fds, n, timeout);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
    FAULTS_REAL(__poll_chk);
    return FAULTS_LOOK(FAULTS_POLL) ? -1 : real(fds, n, timeout, room);
}

int socket(int domain, int type, int protocol)
{
    FAULTS_REAL(socket);
    return FAULTS_LOOK(FAULTS_SOCKET) ? -1 : real(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    FAULTS_REAL(connect);
    return FAULTS_LOOK(FAULTS_CONNECT) ? -1 : real(fd, to, len);
}

int pipe2(int fds[2], int flags)
{
    FAULTS_REAL(pipe2);
    return FAULTS_LOOK(FAULTS_DESCRIPTOR) ? -1 : real(fds, flags);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
    FAULTS_REAL(socketpair);
    return FAULTS_LOOK(FAULTS_DESCRIPTOR) ? -1 : real(domain, type, protocol, fds);
}

int eventfd(unsigned value, int flags)
{
    FAULTS_REAL(eventfd);
    return FAULTS_LOOK(FAULTS_DESCRIPTOR) ? -1 : real(value, flags);
}

static mode_t faults_mode(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    FAULTS_REAL(open);
    va_start(args, flags);
    mode_t mode = faults_mode(flags, args);
    va_end(args);
    return FAULTS_LOOK(FAULTS_DESCRIPTOR) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    FAULTS_REAL(open64);
    va_start(args, flags);
    mode_t mode = faults_mode(flags, args);
    va_end(args);
    return FAULTS_LOOK(FAULTS_DESCRIPTOR) ? -1 : real(path, flags, mode);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    FAULTS_REAL(setsockopt);
    return FAULTS_LOOK(FAULTS_SETTING) ? -1 : real(fd, level, name, value, len);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    FAULTS_REAL(getsockopt);
    return FAULTS_LOOK(FAULTS_SETTING) ? -1 : real(fd, level, name, value, len);
}

ssize_t getrandom(void *to, size_t n, unsigned flags)
{
    FAULTS_REAL(getrandom);
    FAULTS_TRANSFER(FAULTS_RANDOM, n);
    return real(to, n, flags);
}
