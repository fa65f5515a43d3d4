//! The only type that holds a secret value.

use zeroize::Zeroizing;

/// A value that must not leave the process except to UKG Pro.
///
/// It has no `Debug`, `Display`, `Clone`, `Serialize` or `PartialEq`, so printing, copying or comparing it is a compile error.
/// Its memory is wiped on drop. [`Sensitive::expose`] is the only access; search for it to review every use.
///
/// ```compile_fail
/// let password = ukg_pro::sensitive::Sensitive::new("x".to_owned());
/// println!("{password:?}");
/// ```
/// ```compile_fail
/// let password = ukg_pro::sensitive::Sensitive::new("x".to_owned());
/// let copy = password.clone();
/// ```
pub struct Sensitive(Zeroizing<String>);

impl Sensitive {
    /// Takes ownership of the value. The caller must not keep another copy.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// Returns the value, to write it into a request or to check its form.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
