//! The one type that holds a secret value.

use zeroize::Zeroizing;

/// A value that must not leave the process except to UKG Pro.
///
/// It has no `Debug`, `Display`, `Clone`, `Serialize` or `PartialEq`, so printing, copying or comparing one is a compile error,
/// and its memory is wiped when it is dropped. [`Sensitive::expose`] is the one way in; search for it to review every use.
///
/// ```compile_fail
/// let password = ukgpro_operator::ukg::sensitive::Sensitive::new("x".to_owned());
/// println!("{password:?}");
/// ```
/// ```compile_fail
/// let password = ukgpro_operator::ukg::sensitive::Sensitive::new("x".to_owned());
/// let copy = password.clone();
/// ```
pub struct Sensitive(Zeroizing<String>);

impl Sensitive {
    /// Takes the value over; the caller must not keep another copy.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for writing it into a request or judging its shape.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
