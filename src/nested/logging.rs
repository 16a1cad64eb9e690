//! What a tracer is told, for the `log` crate: without the feature of that name nothing.
//!
//! Records are `trace`, changes of state `debug`; nothing is above that, since failures are returned
//! and may name the peer.

#[cfg(feature = "log")]
use log::{Level, debug, log_enabled, trace};

use super::layer::Layer;
use super::trace::Traced;

/// Whether anybody listens to a layer.
pub(super) fn is_on(layer: Layer) -> bool {
    #[cfg(feature = "log")]
    return log_enabled!(target: target(layer), Level::Debug);
    #[cfg(not(feature = "log"))]
    {
        let _ = layer;
        false
    }
}

#[cfg(not(feature = "log"))]
pub(super) fn write(_: Layer, _: &Traced<'_>) {}

#[cfg(feature = "log")]
pub(super) fn write(layer: Layer, traced: &Traced<'_>) {
    let target = target(layer);
    match traced {
        Traced::Record { direction, content, protected, len } => {
            let how = if *protected { "encrypted" } else { "in clear" };
            match content {
                Some(content) => {
                    trace!(target: target, "{direction} {content:?}, {len} bytes {how}")
                }
                None => trace!(target: target, "{direction} a record, {len} bytes {how}"),
            }
        }
        Traced::Message { direction, typ, len } => {
            trace!(target: target, "{direction} {typ:?}, {len} bytes");
        }
        Traced::Alert { direction, description } => {
            debug!(target: target, "{direction} alert {description:?}");
        }
        Traced::Established(info) => debug!(
            target: target,
            "established: {:?}, {:?}, {:?}, resumed: {}",
            info.version, info.suite, info.group, info.resumed
        ),
        Traced::Failed(error) => debug!(target: target, "failed: {error}"),
    }
}

#[cfg(feature = "log")]
fn target(layer: Layer) -> &'static str {
    match layer {
        Layer::Outer => "nested_tls::outer",
        Layer::Inner => "nested_tls::inner",
    }
}
