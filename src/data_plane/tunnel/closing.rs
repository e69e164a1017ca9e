//! The Close frames that hitless itself writes (RFC 6455 5.5.1).

use bytes::Bytes;

/// Why a WebSocket is closed (RFC 6455 7.4.1 and its registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    /// hitless is stopping.
    GoingAway = 1001,
    /// The generation is; coming back leads to another one.
    ServiceRestart = 1012,
}

impl CloseCode {
    /// A Close frame without words, as a server sends it.
    pub(super) fn to_client(self) -> Bytes {
        let [high, low] = (self as u16).to_be_bytes();
        Bytes::copy_from_slice(&[0x88, 0x02, high, low])
    }

    /// The same as a client sends it: masked. Masks must be hard to guess so that nobody can choose what goes over the
    /// wire (RFC 6455 10.3); nobody but hitless chooses this payload.
    pub(super) fn to_app(self) -> Bytes {
        let [high, low] = (self as u16).to_be_bytes();
        let mask = fastrand::u32(..).to_be_bytes();
        let [first, second, third, fourth] = mask;
        let payload = [high ^ first, low ^ second];
        let frame = [
            0x88, 0x82, first, second, third, fourth, payload[0], payload[1],
        ];
        Bytes::copy_from_slice(&frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apps_close_frame_is_masked() {
        let frame = CloseCode::ServiceRestart.to_app();
        assert_eq!(frame[..2], [0x88, 0x82]);
        let code = [frame[6] ^ frame[2], frame[7] ^ frame[3]];
        assert_eq!(u16::from_be_bytes(code), 1012);
    }
}
