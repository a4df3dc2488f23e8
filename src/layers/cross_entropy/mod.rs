//! Softmax cross-entropy, as PyTorch's `nn.CrossEntropyLoss`: the mean over the N examples of a
//! batch.
//!
//! For one example with logits `z` and label `t`, and `m = max z`:
//!
//! ```text
//! p[k] = exp(z[k] - m) / sum over j of exp(z[j] - m)            softmax
//! loss = log(sum over j of exp(z[j] - m)) + m - z[t]            = -log p[t]
//! d_z[k] = (p[k] - [k = t]) / N
//! ```
//!
//! With label smoothing `e`, the target is no longer the label alone: each of the K classes has
//! `e / K` of it, and the label `1 - e` besides.
//!
//! ```text
//! q[k]   = (1 - e) [k = t] + e / K
//! loss   = sum over k of -q[k] log p[k]
//! d_z[k] = (p[k] - q[k]) / N
//! ```
//!
//! Subtracting the maximum changes nothing in exact arithmetic and keeps every exponential at
//! most 1, so large logits do not overflow.
//!
//! | tensor | shape |
//! |---|---|
//! | `z`, `d_z`, `p` | (K), the number of classes |
//!
//! Source: Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections 4.1 and 6.2.2.3; for
//! the smoothing Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, *Rethinking the Inception Architecture
//! for Computer Vision*, CVPR 2016, section 7.

pub mod lanes;
pub mod reference;
