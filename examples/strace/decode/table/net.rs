//! Calls on sockets.

use super::super::arg::Arg::*;
use super::super::names::net as set;
use super::super::structs::files::{int_at, pair};
use super::super::structs::net::*;
use super::super::structs::sockopt;
use super::super::structs::time::{timespec, timespec64};
use super::{Table, calls};

pub(super) const CALLS: Table = calls! {
    socket: OneOf(set::AF), Value(socket_type), Value(protocol);
    socketpair: OneOf(set::AF), Value(socket_type), Value(protocol), Out(pair);
    bind: Int, In(address), Int;
    connect: Int, In(address), Int;
    listen: Int, Int;
    accept: Int, Out(address_out), Out(int_at);
    accept4: Int, Out(address_out), Out(int_at), Flags(set::SOCK_FLAGS);
    getsockname: Int, Out(address_out), Out(int_at);
    getpeername: Int, Out(address_out), Out(int_at);
    shutdown: Int, OneOf(set::SHUT);
    send: Int, Data(2), Size, Flags(set::MSG);
    sendto: Int, Data(2), Size, Flags(set::MSG), In(address), Uint;
    sendmsg: Int, In(message), Flags(set::MSG);
    sendmmsg: Int, In(messages), Uint, Flags(set::MSG);
    recv: Int, DataOut, Size, Flags(set::MSG);
    recvfrom: Int, DataOut, Size, Flags(set::MSG), Out(address_out), Out(int_at);
    recvmsg: Int, Out(message_out), Flags(set::MSG);
    recvmmsg: Int, Out(messages), Uint, Flags(set::MSG), In(timespec);
    recvmmsg_time64: Int, Out(messages), Uint, Flags(set::MSG), In(timespec64);
    setsockopt: Int, OneOf(set::SOL), Value(sockopt::name), In(sockopt::value), Int;
    getsockopt: Int, OneOf(set::SOL), Value(sockopt::name), Out(sockopt::value_out), Out(int_at);
    socketcall: Value(socketcall), Ptr;
};
