//! Constants of sockets.

use super::{Names, names};

/// Address families.
pub(crate) const AF: Names = names![
    AF_UNSPEC,
    AF_UNIX,
    AF_INET,
    AF_AX25,
    AF_IPX,
    AF_APPLETALK,
    AF_X25,
    AF_INET6,
    AF_KEY,
    AF_NETLINK,
    AF_PACKET,
    AF_LLC,
    AF_CAN,
    AF_TIPC,
    AF_BLUETOOTH,
    AF_ALG,
    AF_VSOCK,
    AF_XDP = 44,
    AF_QIPCRTR = 42,
    AF_RDS,
    AF_PPPOX,
    AF_MCTP = 45,
];

/// Types of sockets: the four lowest bits.
pub(crate) const SOCK: Names = names![
    SOCK_STREAM,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_RDM,
    SOCK_SEQPACKET,
    SOCK_DCCP,
    SOCK_PACKET = 10,
];

/// Flags above the type.
pub(crate) const SOCK_FLAGS: Names = names![SOCK_CLOEXEC, SOCK_NONBLOCK];

/// Protocols of the internet families.
pub(crate) const IPPROTO: Names = names![
    IPPROTO_IP,
    IPPROTO_ICMP,
    IPPROTO_IGMP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    IPPROTO_DCCP,
    IPPROTO_IPV6,
    IPPROTO_ICMPV6,
    IPPROTO_SCTP,
    IPPROTO_UDPLITE,
    IPPROTO_RAW,
    IPPROTO_MPTCP = 262,
];

/// Protocols of netlink.
pub(crate) const NETLINK: Names = names![
    NETLINK_ROUTE,
    NETLINK_USERSOCK,
    NETLINK_FIREWALL,
    NETLINK_SOCK_DIAG = 4,
    NETLINK_NFLOG,
    NETLINK_XFRM,
    NETLINK_SELINUX,
    NETLINK_AUDIT,
    NETLINK_CONNECTOR,
    NETLINK_NETFILTER,
    NETLINK_KOBJECT_UEVENT,
    NETLINK_GENERIC,
    NETLINK_CRYPTO,
];

/// Flags of sending and receiving.
pub(crate) const MSG: Names = names![
    MSG_OOB,
    MSG_PEEK,
    MSG_DONTROUTE,
    MSG_CTRUNC,
    MSG_PROBE = 0x10,
    MSG_TRUNC,
    MSG_DONTWAIT,
    MSG_EOR,
    MSG_WAITALL,
    MSG_FIN,
    MSG_SYN,
    MSG_CONFIRM,
    MSG_RST,
    MSG_ERRQUEUE,
    MSG_NOSIGNAL,
    MSG_MORE,
    MSG_WAITFORONE,
    MSG_BATCH = 0x4_0000,
    MSG_ZEROCOPY = 0x400_0000,
    MSG_FASTOPEN,
    MSG_CMSG_CLOEXEC,
];

/// `how` of shutdown(2).
pub(crate) const SHUT: Names = names![SHUT_RD, SHUT_WR, SHUT_RDWR];

/// Levels of options.
pub(crate) const SOL: Names = names![
    SOL_SOCKET,
    SOL_IP,
    SOL_TCP,
    SOL_UDP,
    SOL_IPV6,
    SOL_RAW = 255,
    SOL_PACKET,
    SOL_NETLINK,
    SOL_SCTP = 132,
    SOL_ICMPV6 = 58,
    SOL_ALG,
    SOL_TLS,
    SOL_XDP = 283,
    SOL_MPTCP = 284,
];

/// Options of `SOL_SOCKET`.
pub(crate) const SO: Names = names![
    SO_DEBUG,
    SO_REUSEADDR,
    SO_TYPE,
    SO_ERROR,
    SO_DONTROUTE,
    SO_BROADCAST,
    SO_SNDBUF,
    SO_RCVBUF,
    SO_KEEPALIVE,
    SO_OOBINLINE,
    SO_NO_CHECK,
    SO_PRIORITY,
    SO_LINGER,
    SO_BSDCOMPAT,
    SO_REUSEPORT,
    SO_PASSCRED,
    SO_PEERCRED,
    SO_RCVLOWAT,
    SO_SNDLOWAT,
    SO_RCVTIMEO_OLD = 20,
    SO_SNDTIMEO_OLD = 21,
    SO_BINDTODEVICE,
    SO_ATTACH_FILTER,
    SO_DETACH_FILTER,
    SO_PEERNAME,
    SO_TIMESTAMP_OLD = 29,
    SO_ACCEPTCONN,
    SO_PEERSEC,
    SO_SNDBUFFORCE,
    SO_PASSSEC,
    SO_TIMESTAMPNS_OLD = 35,
    SO_MARK,
    SO_TIMESTAMPING_OLD = 37,
    SO_PROTOCOL,
    SO_DOMAIN,
    SO_RXQ_OVFL,
    SO_PEEK_OFF,
    SO_LOCK_FILTER,
    SO_BUSY_POLL,
    SO_MAX_PACING_RATE = 47,
    SO_ATTACH_BPF = 50,
    SO_INCOMING_CPU,
    SO_COOKIE = 57,
    SO_PEERGROUPS = 59,
    SO_ZEROCOPY = 60,
    SO_TXTIME = 61,
    SO_PEERPIDFD = 77,
];

/// Options of `SOL_TCP`.
pub(crate) const TCP: Names = names![
    TCP_NODELAY,
    TCP_MAXSEG,
    TCP_CORK,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_KEEPCNT,
    TCP_SYNCNT,
    TCP_LINGER2,
    TCP_DEFER_ACCEPT,
    TCP_WINDOW_CLAMP,
    TCP_INFO,
    TCP_QUICKACK,
    TCP_CONGESTION,
    TCP_USER_TIMEOUT,
    TCP_REPAIR,
    TCP_FASTOPEN,
    TCP_TIMESTAMP,
    TCP_NOTSENT_LOWAT = 25,
    TCP_FASTOPEN_CONNECT = 30,
    TCP_ULP = 31,
];

/// Options of `SOL_IP`.
pub(crate) const IP: Names = names![
    IP_TOS,
    IP_TTL,
    IP_HDRINCL,
    IP_OPTIONS,
    IP_RECVOPTS,
    IP_PKTINFO,
    IP_MTU_DISCOVER,
    IP_RECVERR,
    IP_RECVTTL,
    IP_RECVTOS,
    IP_MTU,
    IP_FREEBIND,
    IP_TRANSPARENT,
    IP_MULTICAST_IF,
    IP_MULTICAST_TTL,
    IP_MULTICAST_LOOP,
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_BIND_ADDRESS_NO_PORT,
];

/// Options of `SOL_IPV6`.
pub(crate) const IPV6: Names = names![
    IPV6_UNICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_LOOP,
    IPV6_ADD_MEMBERSHIP,
    IPV6_DROP_MEMBERSHIP,
    IPV6_MTU_DISCOVER,
    IPV6_MTU,
    IPV6_RECVERR,
    IPV6_V6ONLY,
    IPV6_RECVPKTINFO,
    IPV6_PKTINFO,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
];

/// Options of `SOL_NETLINK`.
pub(crate) const NETLINK_OPTION: Names = names![
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_DROP_MEMBERSHIP,
    NETLINK_PKTINFO,
    NETLINK_BROADCAST_ERROR,
    NETLINK_NO_ENOBUFS,
    NETLINK_LISTEN_ALL_NSID,
    NETLINK_EXT_ACK = 11,
    NETLINK_GET_STRICT_CHK = 12,
];

/// Calls that 32-bit x86 makes through socketcall(2).
pub(crate) const SOCKETCALL: Names = names![
    SYS_SOCKET = 1,
    SYS_BIND = 2,
    SYS_CONNECT = 3,
    SYS_LISTEN = 4,
    SYS_ACCEPT = 5,
    SYS_GETSOCKNAME = 6,
    SYS_GETPEERNAME = 7,
    SYS_SOCKETPAIR = 8,
    SYS_SEND = 9,
    SYS_RECV = 10,
    SYS_SENDTO = 11,
    SYS_RECVFROM = 12,
    SYS_SHUTDOWN = 13,
    SYS_SETSOCKOPT = 14,
    SYS_GETSOCKOPT = 15,
    SYS_SENDMSG = 16,
    SYS_RECVMSG = 17,
    SYS_ACCEPT4 = 18,
];
