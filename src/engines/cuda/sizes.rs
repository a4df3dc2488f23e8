//! Sizes as the kernels are told them: whole numbers of 32 bits.

use crate::engines::EngineError;
use crate::hardware::gpu::{GpuError, Linear as LinearSizes, Windows};
use crate::layers::conv2d::Conv2d;
use crate::layers::linear::Linear;
use crate::layers::max_pool2d::MaxPool2d;
use crate::layers::window::Window;
use crate::network::Network;

/// A size as the kernels count.
///
/// # Errors
/// If it is 2^31 or more.
pub(super) fn int(size: usize) -> Result<i32, EngineError> {
    i32::try_from(size).map_err(|_| {
        let reason = format!("{size} numbers at once are more than its kernels count");
        GpuError::new("launch", reason).into()
    })
}

/// How many images every buffer can hold at most, at least 1.
pub(super) fn most_images(network: &Network) -> usize {
    let outputs = network.layers().iter().map(|layer| layer.output.elements());
    let input = network.input().iter().product();
    let largest = outputs.chain([input]).max().unwrap_or(1);
    (i32::MAX as usize / largest).max(1)
}

pub(super) fn of_conv2d(conv: &Conv2d, n: usize) -> Result<Windows, EngineError> {
    windows(n, conv.x(), conv.y(), &conv.window)
}

pub(super) fn of_max_pool2d(pool: &MaxPool2d, n: usize) -> Result<Windows, EngineError> {
    windows(n, pool.x(), pool.y(), &pool.window)
}

fn windows(
    n: usize,
    [c, h, w]: [usize; 3],
    [o, oh, ow]: [usize; 3],
    window: &Window,
) -> Result<Windows, EngineError> {
    let [kh, kw] = window.kernel;
    let [stride_h, stride_w] = window.stride;
    let [padding_h, padding_w] = window.padding;
    // Products of these are places in buffers.
    int(n * c * h * w)?;
    int(n * o * oh * ow)?;
    Ok(Windows {
        n: int(n)?,
        c: int(c)?,
        h: int(h)?,
        w: int(w)?,
        o: int(o)?,
        oh: int(oh)?,
        ow: int(ow)?,
        kh: int(kh)?,
        kw: int(kw)?,
        stride_h: int(stride_h)?,
        stride_w: int(stride_w)?,
        padding_h: int(padding_h)?,
        padding_w: int(padding_w)?,
    })
}

pub(super) fn of_linear(linear: &Linear, n: usize) -> Result<LinearSizes, EngineError> {
    int(n * linear.in_features)?;
    int(n * linear.out_features)?;
    Ok(LinearSizes {
        n: int(n)?,
        i: int(linear.in_features)?,
        o: int(linear.out_features)?,
    })
}
