//! The running average of the parameters, which a test then judges in their place: PyTorch's
//! `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`, updated after every
//! step.
//!
//! ```text
//! average = parameter                                        after the first step
//! average = decay average + (1 - decay) parameter            after each later one
//! ```
//!
//! Source: Polyak and Juditsky, *Acceleration of Stochastic Approximation by Averaging*, SIAM
//! Journal on Control and Optimization, 1992; here with weights that fade exponentially.

use crate::tensor::Element;

/// Takes over the parameters of a step before which `done` were done.
///
/// - `parameters`: (P)
/// - `average`: (P), changed
#[inline(always)]
pub fn step<T: Element>(decay: f64, done: u64, parameters: &[T], average: &mut [T]) {
    assert_eq!(parameters.len(), average.len(), "average: (P)");
    if done == 0 {
        average.copy_from_slice(parameters);
        return;
    }
    let (kept, new) = (T::from_f64(decay), T::from_f64(1.0 - decay));
    for (average, &parameter) in average.iter_mut().zip(parameters) {
        *average = kept * *average + new * parameter;
    }
}
