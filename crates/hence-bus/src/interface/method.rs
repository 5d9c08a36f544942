//! Methods: as they are written, and as the program holds them, which is without a pointer for each text; see
//! `row`.

use super::{Call, Turn};
use crate::front::{ErrorName, Refusal};

/// How a method ends.
pub type Acted = Result<Turn, Refusal>;

/// A method as it is written: name, signature of its arguments, signature of its answer.
pub type Written = [&'static str; 3];

/// A method without a pointer.
#[derive(Clone, Copy)]
pub struct Packed {
    /// Where its texts begin.
    at: u16,
    /// How long each is.
    lengths: [u8; 3],
}

/// How many bytes the texts take.
pub const fn length(rows: &[Written]) -> usize {
    let (mut length, mut i) = (0, 0);
    while i < rows.len() {
        length += rows[i][0].len() + rows[i][1].len() + rows[i][2].len();
        i += 1;
    }
    length
}

/// The methods and their texts.
pub const fn pack<const N: usize, const B: usize>(rows: &[Written]) -> ([Packed; N], [u8; B]) {
    let mut packed = [Packed { at: 0, lengths: [0; 3] }; N];
    let mut bytes = [0; B];
    let (mut end, mut i) = (0, 0);
    while i < N {
        packed[i].at = end as u16;
        let mut text = 0;
        while text < 3 {
            let from = rows[i][text].as_bytes();
            assert!(from.len() < 256 && end < u16::MAX as usize);
            packed[i].lengths[text] = from.len() as u8;
            let mut at = 0;
            while at < from.len() {
                bytes[end] = from[at];
                (end, at) = (end + 1, at + 1);
            }
            text += 1;
        }
        i += 1;
    }
    (packed, bytes)
}

/// Methods that belong together.
pub struct Methods {
    rows: &'static [Packed],
    texts: &'static [u8],
    act: fn(usize, &mut Call<'_>) -> Acted,
}

impl Methods {
    /// Methods as [`pack`] has them, and what does them by their position.
    pub const fn new<const N: usize, const B: usize>(
        packed: &'static ([Packed; N], [u8; B]),
        act: fn(usize, &mut Call<'_>) -> Acted,
    ) -> Methods {
        Methods { rows: &packed.0, texts: &packed.1, act }
    }

    /// All methods.
    pub fn rows(&'static self) -> impl Iterator<Item = Method> {
        (0..self.rows.len()).map(move |index| Method { group: self, index })
    }
}

/// A method.
#[derive(Clone, Copy)]
pub struct Method {
    group: &'static Methods,
    index: usize,
}

impl Method {
    fn text(self, which: usize) -> &'static str {
        let Packed { at, lengths } = self.group.rows[self.index];
        let before: usize = lengths[..which].iter().map(|length| usize::from(*length)).sum();
        let text = &self.group.texts[usize::from(at) + before..][..usize::from(lengths[which])];
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Name.
    pub fn name(self) -> &'static str {
        self.text(0)
    }

    /// Signature of its arguments.
    pub fn input(self) -> &'static str {
        self.text(1)
    }

    /// Signature of its answer.
    pub fn output(self) -> &'static str {
        self.text(2)
    }

    /// Does it.
    ///
    /// # Errors
    /// The refusal of the call.
    pub fn act(self, call: &mut Call<'_>) -> Acted {
        (self.group.act)(self.index, call)
    }
}

/// What there is to do at the position of no method.
///
/// # Errors
/// Always.
pub fn nothing() -> Acted {
    Err(Refusal::new(ErrorName::UnknownMethod, "There is no such method."))
}

/// Methods: `methods!([method("Name", "arguments", "answer", |call| ...), ...])`.
macro_rules! methods {
    ([$(method($name:expr, $input:expr, $output:expr, $act:expr)),* $(,)?]) => {{
        use $crate::interface::method::{Acted, Methods, Packed, Written, length, nothing, pack};
        const ROWS: &[Written] = &[$([$name, $input, $output]),*];
        static PACKED: ([Packed; ROWS.len()], [u8; length(ROWS)]) = pack(ROWS);
        fn act(index: usize, call: &mut $crate::interface::Call<'_>) -> Acted {
            let mut at = index;
            $(
                if at == 0 {
                    let act: $crate::interface::Act = $act;
                    return act(call);
                }
                at = at.wrapping_sub(1);
            )*
            let _ = at;
            nothing()
        }
        Methods::new(&PACKED, act)
    }};
}

pub(crate) use methods;
