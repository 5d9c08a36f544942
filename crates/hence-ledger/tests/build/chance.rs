//! Repeatable chance for generated records.

/// xorshift64*.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Any magnitude is as likely as any other.
    pub fn number(&mut self) -> u64 {
        self.next() >> self.below(64)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn maybe<T>(&mut self, value: impl FnOnce(&mut Chance) -> T) -> Option<T> {
        if self.below(2) == 0 { None } else { Some(value(self)) }
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Chance) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| item(self)).collect()
    }

    pub fn string(&mut self) -> String {
        const LETTERS: [char; 12] = ['a', 'b', ' ', '/', '.', '"', '\n', 'é', '日', '=', '\u{1f600}', '\0'];
        (0..self.below(40)).map(|_| self.pick(&LETTERS)).collect()
    }
}
