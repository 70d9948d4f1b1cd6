/* Descriptors from process to process. */
#include "sluice/handover.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool handover_open(struct handover *h)
{
    int fds[2];
    *h = (struct handover){-1, -1};
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    *h = (struct handover){fds[0], fds[1]};
    return true;
}

void handover_close(struct handover *h)
{
    if (h->send_fd >= 0)
        close(h->send_fd);
    if (h->receive_fd >= 0)
        close(h->receive_fd);
    *h = (struct handover){-1, -1};
}

union handover_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool handover_send(const struct handover *h, int fd)
{
    char byte = 0;
    union handover_control control = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return h->send_fd >= 0 && sendmsg(h->send_fd, &message, MSG_NOSIGNAL) == 1;
}

int handover_receive(const struct handover *h)
{
    char byte;
    int fd = -1;
    union handover_control control = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    if (h->receive_fd < 0 || recvmsg(h->receive_fd, &message, MSG_CMSG_CLOEXEC) != 1)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}
