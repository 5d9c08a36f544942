//! Fields that many entries have in common, and where they are in the file that is written just now.

/// Longest name of a field; systemd-journald refuses longer ones.
const LONGEST_NAME: usize = 64;

/// Fields with their values, looked up once per file instead of once per entry.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    text: Vec<u8>,
    ends: Vec<u32>,
    pub(super) place: Place,
}

/// Where they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Of which file this is true; 0: of none.
    pub serial: u64,
    pub offsets: Vec<u32>,
    pub hot: Vec<u32>,
    pub items: Vec<u8>,
    pub xor: u64,
    pub last: u32,
}

impl Fields {
    /// None so far.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// Adds a field. Its name must be one (see [`is_name`]); it isn't looked at again.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Fields {
        self.text.extend_from_slice(name.as_bytes());
        self.text.push(b'=');
        self.text.extend_from_slice(value.as_ref());
        self.ends.push(self.text.len() as u32);
        self.place = Place::default();
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, as `NAME=VALUE`.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start as usize..*end as usize])
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|field| field.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// Whether a field may be called so by whoever logs; systemd.journal-fields(7). `trusted`: also names that
/// only we may give.
pub fn is_name(name: &[u8], trusted: bool) -> bool {
    let begins = |b: &u8| b.is_ascii_uppercase() || (trusted && *b == b'_');
    name.len() <= LONGEST_NAME
        && name.first().is_some_and(begins)
        && name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
}
