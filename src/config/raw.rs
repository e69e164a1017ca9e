//! The file as it is written: every table with its keys, and for each key what its value may be.
//!
//! Ranges stand here; what several keys say together is judged in `build`.

use toml::de::DeTable;

use super::kind::{
    AccessLog, Address, Command, Flag, Host, Listener, Name, Number, OptionalAddress, Path,
    Pattern, Positive, Proxy, Ratio, RouteList, Size, SizeOrNone, SocketPath, Statuses, Time,
    UrlPath, Variables, WarmUps, Word,
};
use super::problem::Problem;
use super::read::{self, Kind, List, Named, Node, OneOrMore, Table, table};
use super::schema::{self, Described};
use crate::control_plane::driver::{MemoryPolicy, StreamPolicy};
use crate::control_plane::supervisor::Overlap;
use crate::data_plane::Expect;
use crate::generation::AppProtocol;
use crate::telemetry::log;

table! {
    /// The whole file.
    File {
        listen: OneOrMore<Listener>,
        admin: OptionalAddress,
        admin_hosts: List<Host>,
        exit_on_failed_start: Flag,
        name: Name,
        control: SocketPath,
        threads: Number<usize, 0, 1024>,
        starts_max: Number<usize, 0, 1_000>,
        trusted_proxies: List<Proxy>,
        client: Client,
        shutdown: Shutdown,
        errors: Errors,
        log: Log,
        app: Named<App>,
    }
}

table! {
    /// `[client]`
    Client {
        head_timeout: Positive,
        head_bytes_max: Size<{ 8 << 10 }, { 16 << 20 }>,
        head_fields_max: Number<usize, 1, 10_000>,
        idle_timeout: Positive,
        body_timeout: Positive,
        write_timeout: Positive,
        linger_timeout: Positive,
        connections_max: Number<usize, 0, 1_000_000>,
        connections_per_address_max: Number<usize, 0, 1_000_000>,
        http2: Flag,
        http2_streams_max: Number<u32, 1, 10_000>,
    }
}

table! {
    /// `[shutdown]`
    Shutdown {
        delay: Time,
        idle: Time,
        timeout: Positive,
    }
}

table! {
    /// `[errors]`
    Errors {
        folder: Path,
    }
}

table! {
    /// `[log]`
    Log {
        level: Word<log::Level>,
        format: Word<log::Format>,
        access: AccessLog,
        app: Word<log::AppFormat>,
    }
}

table! {
    /// `[app.NAME]`
    App {
        command: Command,
        addresses: OneOrMore<Address>,
        route: RouteList,
        directory: Path,
        env_file: Path,
        env: Variables,
        instances: Number<u32, 1, 1_000>,
        min_ready: Number<u32, 0, 1_000>,
        overlap: Word<Overlap>,
        overlap_memory: Word<MemoryPolicy>,
        protocol: Word<AppProtocol>,
        reserve_port: Flag,
        connect_timeout: Positive,
        answer_timeout: Time,
        body_timeout: Time,
        pool_max: Number<usize, 0, 65_536>,
        pool_idle_timeout: Positive,
        body_bytes_max: SizeOrNone<{ 1 << 50 }>,
        expect: Word<Expect>,
        early_hints: Flag,
        buffer_requests: SizeOrNone<{ 1 << 30 }>,
        expose_generation: Flag,
        ready: Ready,
        liveness: Liveness,
        drain: Drain,
        failover: Failover,
        hold: Hold,
        watch: Watch,
    }
}

table! {
    /// `[app.NAME.ready]`
    Ready {
        http: UrlPath,
        host: Host,
        status: OneOrMore<Statuses>,
        tcp: Flag,
        notify: Flag,
        owner: Flag,
        interval: Positive,
        timeout: Positive,
        successes: Number<u32, 1, 100>,
        start_timeout: Positive,
        warm_up: WarmUps,
    }
}

table! {
    /// `[app.NAME.liveness]`
    Liveness {
        http: UrlPath,
        tcp: Flag,
        host: Host,
        status: OneOrMore<Statuses>,
        interval: Positive,
        timeout: Positive,
        failures: Number<u32, 1, 100>,
    }
}

table! {
    /// `[app.NAME.drain]`
    Drain {
        timeout: Positive,
        stop_timeout: Positive,
        stopping_max: Number<usize, 1, 100>,
        streams: Word<StreamPolicy>,
        stream_timeout: Positive,
        close_spread: Time,
        retiring_max: Number<usize, 0, 100>,
    }
}

table! {
    /// `[app.NAME.failover]`
    Failover {
        probation: Time,
        probation_max: Positive,
        connect_failures: Number<u32, 1, 1_000>,
        min_requests: Number<u64, 1, 1_000_000>,
        max_error_ratio: Ratio<false>,
        rescue_5xx: Flag,
        resends: Number<u32, 0, 10>,
        resend_ratio: Ratio<true>,
        resend_body_max: SizeOrNone<{ 16 << 20 }>,
        resend_idempotency_key: Flag,
    }
}

table! {
    /// `[app.NAME.hold]`
    Hold {
        requests: Number<usize, 0, 1_000_000>,
        timeout: Positive,
    }
}

table! {
    /// `[app.NAME.watch]`
    Watch {
        paths: List<Path>,
        ignore: List<Pattern>,
        settle: Time,
        poll: Flag,
    }
}
