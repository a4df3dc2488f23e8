//! Images as bytes, one after another.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Images of one shape, as bytes: `(N, C, H, W)`. A clone shares them.
#[derive(Clone, PartialEq)]
pub struct Images {
    shape: [usize; 3],
    /// Those of MNIST stay where they are in the program.
    bytes: Arc<Cow<'static, [u8]>>,
}

impl Images {
    /// Images of `shape` (C, H, W), one after another in `bytes`, or `None` if the bytes do not
    /// divide into whole images or a dimension is 0.
    pub fn new(shape: [usize; 3], bytes: impl Into<Cow<'static, [u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        let pixels = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        (pixels > 0 && bytes.len().is_multiple_of(pixels)).then_some(Self {
            shape,
            bytes: Arc::new(bytes),
        })
    }

    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of images, N.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.pixels()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The `n`-th image, `(C, H, W)`.
    pub fn image(&self, n: usize) -> &[u8] {
        &self.bytes[n * self.pixels()..][..self.pixels()]
    }

    /// All images, `(N, C, H, W)`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The pixels of one image, C H W.
    pub fn pixels(&self) -> usize {
        self.shape.iter().product()
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [channels, height, width] = self.shape;
        write!(f, "Images({}x{channels}x{height}x{width})", self.len())
    }
}
