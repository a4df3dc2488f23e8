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
//! Subtracting the maximum changes nothing in exact arithmetic and keeps every exponential at
//! most 1, so large logits do not overflow.
//!
//! | tensor | shape |
//! |---|---|
//! | `z`, `d_z`, `p` | (K), the number of classes |
//!
//! Source: Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections 4.1 and 6.2.2.3.

pub mod reference;
