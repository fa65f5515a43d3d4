//! A SOAP message of the simulator. It is serialized when it is sent, because its header names the request it answers. Pure.

use crate::catalogue::{ADDRESSING, SOAP12};
use crate::xml::escape;

/// A message to a client.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) action: String,
    /// Content of the Body, as XML.
    pub(crate) body: String,
    /// ID of the request it answers.
    pub(crate) relates_to: Option<String>,
    /// Whether it begins with a byte-order mark, as from WCF's text encoder if configured so.
    pub(crate) byte_order_mark: bool,
}

impl Message {
    /// Serializes the message.
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
