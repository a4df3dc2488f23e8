//! A window that slides over an image: what convolution and pooling have in common.

use super::{MAX_ELEMENTS, Misfit, checked_elements};

/// A window's size, its step, and the border added around the image; each as height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// How far it moves down and to the right.
    pub stride: [usize; 2],
    /// Rows added above and below, columns added left and right.
    pub padding: [usize; 2],
}

impl Window {
    /// A window of `kernel` that moves by one, over an image without a border.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self {
            kernel,
            stride: [1, 1],
            padding: [0, 0],
        }
    }

    /// How many windows fit in an image of height and width `input`, down and across:
    /// `floor((input + 2 padding - kernel) / stride) + 1`, as PyTorch has it.
    ///
    /// # Errors
    /// If a kernel or stride is 0, the kernel is larger than the padded image, or that or the
    /// stride is too large.
    pub fn output(&self, input: [usize; 2]) -> Result<[usize; 2], Misfit> {
        if self.kernel.contains(&0) {
            return Err(Misfit::Zero("the kernel"));
        }
        if self.stride.contains(&0) {
            return Err(Misfit::Zero("the stride"));
        }
        let mut padded = [0; 2];
        for axis in 0..2 {
            padded[axis] = self.padding[axis]
                .checked_mul(2)
                .and_then(|border| border.checked_add(input[axis]))
                .ok_or(Misfit::TooLarge("padded input"))?;
        }
        checked_elements("padded input", &padded)?;
        if self.kernel[0] > padded[0] || self.kernel[1] > padded[1] {
            let kernel = self.kernel;
            return Err(Misfit::Kernel { kernel, padded });
        }
        if self.stride.iter().any(|&stride| stride > MAX_ELEMENTS) {
            return Err(Misfit::Stride);
        }
        Ok([0, 1].map(|axis| (padded[axis] - self.kernel[axis]) / self.stride[axis] + 1))
    }

    /// The pixel of an image of height and width `input` that lies under place `k` of window
    /// `at`, or `None` where the border is.
    #[inline]
    pub fn pixel(&self, at: [usize; 2], k: [usize; 2], input: [usize; 2]) -> Option<[usize; 2]> {
        let row = (at[0] * self.stride[0] + k[0]).checked_sub(self.padding[0])?;
        let column = (at[1] * self.stride[1] + k[1]).checked_sub(self.padding[1])?;
        (row < input[0] && column < input[1]).then_some([row, column])
    }

    /// The windows, along `axis`, whose place `k` lies on the image and not on its border.
    ///
    /// From `0 <= window * stride + k - padding < input`.
    #[inline]
    pub fn inside(
        &self,
        axis: usize,
        k: usize,
        input: usize,
        output: usize,
    ) -> std::ops::Range<usize> {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        // Most windows lie on the image whole, and a division takes as long as copying a line.
        let start = match padding.checked_sub(k) {
            None | Some(0) => 0,
            Some(border) => border.div_ceil(stride),
        };
        let end = if (output - 1) * stride + k < input + padding {
            output
        } else {
            (input + padding).saturating_sub(k).div_ceil(stride)
        };
        start.min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_pytorchs() {
        let window = |kernel, stride, padding| Window {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        };
        assert_eq!(window(5, 1, 0).output([28, 27]), Ok([24, 23]));
        assert_eq!(window(5, 1, 2).output([28, 28]), Ok([28, 28]));
        assert_eq!(window(3, 2, 1).output([5, 6]), Ok([3, 3]));
        assert_eq!(window(2, 2, 0).output([5, 5]), Ok([2, 2]));
        assert_eq!(
            window(6, 1, 0).output([5, 9]),
            Err(Misfit::Kernel {
                kernel: [6, 6],
                padded: [5, 9]
            })
        );
        assert!(window(0, 1, 0).output([5, 5]).is_err());
        assert!(window(1, 0, 0).output([5, 5]).is_err());
        assert!(window(1, 1, usize::MAX).output([5, 5]).is_err());
    }

    #[test]
    fn inside_says_what_pixel_says() {
        for (kernel, stride, padding, input) in (1..6)
            .flat_map(|k| (1..4).map(move |s| (k, s)))
            .flat_map(|(k, s)| (0..4).map(move |p| (k, s, p)))
            .flat_map(|(k, s, p)| (1..8).map(move |i| (k, s, p, i)))
        {
            let window = Window {
                kernel: [1, kernel],
                stride: [1, stride],
                padding: [0, padding],
            };
            let Ok([_, output]) = window.output([1, input]) else {
                continue;
            };
            for k in 0..kernel {
                let inside = window.inside(1, k, input, output);
                for at in 0..output {
                    assert_eq!(
                        inside.contains(&at),
                        window.pixel([0, at], [0, k], [1, input]).is_some(),
                        "{window:?} place {k} window {at} of {input}"
                    );
                }
            }
        }
    }
}
