//! Which strings are valid object paths, interfaces, members and bus names. It does not interpret them.

const NAME_MAX: usize = 255;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether this is an object path: `/` or `/a/b_1`.
pub fn is_object_path(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else { return false };
    rest.split('/').all(|element| !element.is_empty() && element.bytes().all(is_word))
}

/// Whether this is an interface name: two or more elements joined by dots, none begins with a digit.
pub fn is_interface(name: &str) -> bool {
    name.len() <= NAME_MAX && name.contains('.') && name.split('.').all(is_element)
}

/// Whether this is an error name; the rule of interfaces.
pub fn is_error_name(name: &str) -> bool {
    is_interface(name)
}

/// Whether this is the name of a method or signal.
pub fn is_member(name: &str) -> bool {
    name.len() <= NAME_MAX && is_element(name)
}

/// Whether this is a unique or well-known bus name.
pub fn is_bus_name(name: &str) -> bool {
    let (body, unique) = match name.strip_prefix(':') {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    name.len() <= NAME_MAX
        && body.contains('.')
        && body.split('.').all(|element| {
            !element.is_empty()
                && element.bytes().all(|b| is_word(b) || b == b'-')
                && (unique || !element.as_bytes()[0].is_ascii_digit())
        })
}

fn is_element(element: &str) -> bool {
    !element.is_empty() && element.bytes().all(is_word) && !element.as_bytes()[0].is_ascii_digit()
}
