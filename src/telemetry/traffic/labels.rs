//! The closed lists that metrics, the access log and error answers name things by.

/// Defines an enum whose variants each have one word.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// How many there are.
            pub const COUNT: usize = [$($word),*].len();

            /// Every one, in the order of its definition.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),*];

            /// The word in metrics, logs and JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

labels! {
    /// The nine registered methods, and every other.
    Method {
        /// `CONNECT`.
        Connect = "CONNECT",
        /// `DELETE`.
        Delete = "DELETE",
        /// `GET`.
        Get = "GET",
        /// `HEAD`.
        Head = "HEAD",
        /// `OPTIONS`.
        Options = "OPTIONS",
        /// `PATCH`.
        Patch = "PATCH",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
        /// `TRACE`.
        Trace = "TRACE",
        /// Any other token.
        Other = "other",
    }
}

labels! {
    /// The first digit of a status.
    CodeClass {
        /// 101 is the only one that ends a request.
        Informational = "1xx",
        /// Done.
        Success = "2xx",
        /// Elsewhere.
        Redirection = "3xx",
        /// The client's fault; a client that went away before the answer counts here.
        ClientError = "4xx",
        /// The app's fault, or hitless's.
        ServerError = "5xx",
    }
}

labels! {
    /// What the client speaks.
    Protocol {
        /// HTTP/1.0.
        Http10 = "http/1.0",
        /// HTTP/1.1.
        Http11 = "http/1.1",
        /// HTTP/2.
        Http2 = "h2",
    }
}

labels! {
    /// Why hitless answered by itself.
    Reason {
        /// The request breaks a rule of HTTP.
        BadRequest = "bad_request",
        /// The request head did not come in time.
        HeadTimeout = "head_timeout",
        /// The request body made no progress.
        BodyTimeout = "body_timeout",
        /// The request body is larger than allowed.
        BodyTooLarge = "body_too_large",
        /// The client went away before the body of its request was there.
        ClientGone = "client_gone",
        /// The request target is longer than allowed.
        UriTooLong = "uri_too_long",
        /// An expectation other than `100-continue`.
        ExpectationFailed = "expectation_failed",
        /// The request head is larger than allowed.
        HeadTooLarge = "head_too_large",
        /// No app is there for the host and the path of the request.
        NoRoute = "no_route",
        /// A fault of hitless.
        Internal = "internal",
        /// A method or a transfer coding that hitless does not speak.
        NotImplemented = "not_implemented",
        /// The app refused the connection.
        ConnectionRefused = "connection_refused",
        /// The app did not accept the connection in time.
        ConnectionTimeout = "connection_timeout",
        /// No connection to the app could be made for another cause.
        ConnectionFailed = "connection_failed",
        /// The app closed the connection before the head of its answer was there.
        ConnectionLost = "connection_lost",
        /// The app's answer breaks a rule of HTTP.
        BadAnswer = "bad_answer",
        /// The head of the app's answer is larger than allowed.
        AnswerTooLarge = "answer_too_large",
        /// The app switched to a protocol that nobody asked for.
        BadUpgrade = "bad_upgrade",
        /// A WebSocket was asked for, and the app takes none over HTTP/2.
        NoWebsockets = "no_websockets",
        /// As many requests as may wait do wait.
        HoldFull = "hold_full",
        /// Waited for a live generation as long as a request may.
        HoldTimeout = "hold_timeout",
        /// Waited for a live generation of an app that is served no more.
        Removed = "app_removed",
        /// The head of the answer did not come in time.
        AnswerTimeout = "answer_timeout",
        /// Its generation had to stop before it answered.
        Cut = "cut",
    }
}

labels! {
    /// Why hitless closed a client connection that was in order.
    Closed {
        /// It was idle for too long.
        Idle = "idle_timeout",
        /// The head of a request took too long; the client got a 408.
        HeadTimeout = "head_timeout",
        /// The client took nothing of an answer for too long.
        WriteTimeout = "write_timeout",
        /// It was the longest idle one when others needed the room.
        Crowded = "connections_max",
        /// The client sent frames of HTTP/2 that ask for nothing.
        Flood = "http2_flood",
        /// Its address had as many connections as it may have.
        AddressCrowded = "connections_per_address_max",
    }
}

labels! {
    /// What accepting had to wait for.
    AcceptWait {
        /// There were as many client connections as there may be, and none was idle.
        Room = "connections_max",
        /// The system had no descriptor or no memory for one more.
        System = "system",
    }
}

labels! {
    /// Why an answer did not reach its end, or there was none.
    Broken {
        /// The client went away first.
        ClientGone = "client_gone",
        /// The app's answer ended early.
        AnswerLost = "answer_lost",
        /// The app's answer made no progress.
        AnswerStalled = "answer_stalled",
        /// The generation had to stop.
        BrokenOff = "broken_off",
    }
}

labels! {
    /// Why a request was sent again.
    ResendReason {
        /// The connection was refused.
        Refused = "refused",
        /// The connection was not accepted in time.
        ConnectTimeout = "connect_timeout",
        /// The connection failed for another cause.
        ConnectFailed = "connect_failed",
        /// An idle connection turned out to be closed, or one closed before anything was written.
        Stale = "stale",
        /// The app said over HTTP/2 that it had not taken the request.
        NotTaken = "not_taken",
        /// The connection was lost after the request was written, and the request may be repeated.
        Lost = "lost",
        /// Its generation, which is not trusted, answered with a 500, 502, 503 or 504.
        Rescue = "rescue",
        /// Its generation was failed over before it answered.
        Failover = "failover",
    }
}

labels! {
    /// How a request that was sent again ended.
    ResendOutcome {
        /// The app answered.
        Answered = "answered",
        /// It failed once more.
        Failed = "failed",
        /// The client went away first.
        Abandoned = "abandoned",
        /// It was not sent again, for too many others were.
        OverBudget = "over_budget",
    }
}

labels! {
    /// How waiting for a live generation ended.
    HoldOutcome {
        /// A generation was live.
        Released = "released",
        /// As long as a request may wait.
        TimedOut = "timed_out",
        /// There was no room to wait.
        Refused = "refused",
        /// The client went away.
        Gone = "gone",
    }
}

labels! {
    /// How a connection to the app came about.
    Connected {
        /// Made.
        Opened = "opened",
        /// Taken from the pool.
        Reused = "reused",
        /// Refused.
        Refused = "refused",
        /// Not accepted in time.
        TimedOut = "timed_out",
        /// Not made for another cause.
        Failed = "failed",
    }
}

labels! {
    /// What kind of stream.
    StreamKind {
        /// A tunnel.
        Websocket = "websocket",
        /// `text/event-stream`.
        EventStream = "event_stream",
        /// `application/grpc`.
        Grpc = "grpc",
        /// An ordinary answer that was still under way when the time of its generation was up.
        Answer = "answer",
    }
}

// === impl Method ===

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match *method {
            http::Method::CONNECT => Self::Connect,
            http::Method::DELETE => Self::Delete,
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::OPTIONS => Self::Options,
            http::Method::PATCH => Self::Patch,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::TRACE => Self::Trace,
            _ => Self::Other,
        }
    }
}

// === impl CodeClass ===

impl From<http::StatusCode> for CodeClass {
    fn from(status: http::StatusCode) -> Self {
        match status.as_u16() / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

// === impl Protocol ===

impl From<http::Version> for Protocol {
    fn from(version: http::Version) -> Self {
        match version {
            http::Version::HTTP_10 => Self::Http10,
            http::Version::HTTP_2 => Self::Http2,
            _ => Self::Http11,
        }
    }
}
