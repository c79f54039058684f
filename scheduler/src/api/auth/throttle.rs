//! Bounds how often one address may be wrong about a token.
//!
//! Each address has a bucket of failures that empties with time. Who has filled it is answered 429, before
//! anything is looked up: no guess is judged, no row read, no entry written. Good tokens of others at the same
//! address wait with it, so behind a proxy its address must be known as one (`[http] trusted_proxies`), and
//! those that it speaks for count each for itself. Kept in this process: it bounds guesses, it need not count
//! them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use ipnet::IpNet;

/// Failures at once.
const BURST: u32 = 20;
/// How long one failure weighs.
const EACH: Duration = Duration::from_secs(3);
/// Addresses remembered; beyond that, those whose buckets are emptiest are forgotten.
const MOST: usize = 10_000;

/// Failures by address: until when its bucket is not empty.
#[derive(Debug, Default)]
pub(in crate::api) struct Throttle {
    full_until: Mutex<HashMap<IpAddr, Instant>>,
}

impl Throttle {
    /// How long the address has to wait, if it has to.
    pub(in crate::api) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let known = self.full_until.lock().unwrap_or_else(PoisonError::into_inner);
        let weighs = known.get(&one(address))?.saturating_duration_since(now);
        let over = weighs.saturating_sub(EACH * (BURST - 1));
        (!over.is_zero()).then_some(over)
    }

    /// It was wrong once more.
    pub(in crate::api) fn failed(&self, address: IpAddr, now: Instant) {
        let mut known = self.full_until.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, until| *until > now);
        }
        if known.len() >= MOST {
            let emptiest = known.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address);
            if let Some(emptiest) = emptiest {
                known.remove(&emptiest);
            }
        }
        let until = known.entry(one(address)).or_insert(now);
        *until = (*until).max(now) + EACH;
    }
}

/// Whose address it is: a network of IPv6 is one household.
fn one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Who asks: the connection's other end, or whom a trusted proxy speaks for. A proxy appends whom it heard
/// to `X-Forwarded-For`, so what counts is the last there that is no trusted proxy itself; whatever a client
/// writes stands before that.
pub(in crate::api) fn address(extensions: &Extensions, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let unknown = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map_or(unknown, |ConnectInfo(peer)| peer.ip());
    let is_proxy = |address: &IpAddr| {
        let address = address.to_canonical();
        proxies.iter().any(|proxy| proxy.contains(&address))
    };
    if !is_proxy(&peer) {
        return peer;
    }
    let lines = headers.get_all("x-forwarded-for").into_iter().filter_map(|line| line.to_str().ok());
    let named: Vec<Option<IpAddr>> =
        lines.flat_map(|line| line.split(',')).map(|name| name.trim().parse().ok()).collect();
    let before = named.into_iter().rev().take_while(Option::is_some).flatten();
    before.take(16).find(|address| !is_proxy(address)).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_wrong_too_often_waits_and_nobody_else_does() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..BURST - 1 {
            throttle.failed(ip("10.0.0.1"), now);
        }
        assert_eq!(throttle.wait(ip("10.0.0.1"), now), None);
        throttle.failed(ip("10.0.0.1"), now);
        assert_eq!(throttle.wait(ip("10.0.0.1"), now), Some(EACH));
        assert_eq!(throttle.wait(ip("::ffff:10.0.0.1"), now), Some(EACH), "the same in other words");
        assert_eq!(throttle.wait(ip("10.0.0.2"), now), None);
        assert_eq!(throttle.wait(ip("10.0.0.1"), now + EACH), None, "one failure is forgotten");
        throttle.failed(ip("2001:db8::1"), now);
        assert_eq!(one(ip("2001:db8::1")), one(ip("2001:db8::ffff:1")));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..MOST + 50 {
            let [a, b, c, d] = u32::try_from(n).unwrap().to_be_bytes();
            throttle.failed(IpAddr::from([a, b, c, d]), now);
        }
        assert_eq!(throttle.full_until.lock().unwrap().len(), MOST);
    }

    #[test]
    fn a_proxy_is_believed_when_it_is_trusted_and_a_client_never() {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 9], 1))));
        let headers = |lines: &[&'static str]| {
            let name: axum::http::HeaderName = "x-forwarded-for".parse().unwrap();
            lines.iter().map(|line| (name.clone(), line.parse().unwrap())).collect::<HeaderMap>()
        };
        let proxies: Vec<IpNet> = vec!["10.0.0.0/24".parse().unwrap()];
        let told = headers(&["1.2.3.4, 5.6.7.8, 10.0.0.8"]);
        assert_eq!(address(&extensions, &told, &[]), ip("10.0.0.9"));
        assert_eq!(address(&extensions, &told, &proxies), ip("5.6.7.8"));
        assert_eq!(address(&extensions, &headers(&["5.6.7.8, nonsense"]), &proxies), ip("10.0.0.9"));
        assert_eq!(address(&extensions, &headers(&[]), &proxies), ip("10.0.0.9"));
        assert_eq!(address(&Extensions::new(), &told, &proxies), ip("::"));
    }
}
