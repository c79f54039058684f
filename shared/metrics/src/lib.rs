//! What `/metrics` of a scheduler and of a worker have alike: Prometheus's text format ([`Page`]), and the
//! figures that both of them count for themselves ([`store`], [`traces`]).
//!
//! Nothing is measured here. Whoever measures knows nothing of Prometheus, and what a figure is called and
//! means stands where its page is written.

mod own;
mod page;

pub use own::{store, traces};
pub use page::{Kind, Labels, Page};

/// How a page is announced in `Content-Type`.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
