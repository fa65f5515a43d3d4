//! A SOAP message of the simulator, written when it goes out: its header names the request it answers. Pure.

use crate::catalogue::{ADDRESSING, SOAP12};
use crate::xml::escape;

/// A message to a client.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) action: String,
    /// XML.
    pub(crate) body: String,
    /// The ID of what it answers.
    pub(crate) relates_to: Option<String>,
    /// Whether it begins with a byte-order mark, as from a text encoder of WCF's that was given one.
    pub(crate) byte_order_mark: bool,
}

impl Message {
    /// As it goes over the wire.
    pub(crate) fn write(&self) -> String {
        let mark = if self.byte_order_mark { "\u{feff}" } else { "" };
        let relates_to =
            self.relates_to.as_deref().map_or_else(String::new, |id| format!("<a:RelatesTo>{}</a:RelatesTo>", escape(id)));
        format!(
            r#"{mark}<s:Envelope xmlns:s="{SOAP12}" xmlns:a="{ADDRESSING}"><s:Header><a:Action s:mustUnderstand="1">{}</a:Action>{relates_to}</s:Header><s:Body>{}</s:Body></s:Envelope>"#,
            escape(&self.action),
            self.body
        )
    }
}
