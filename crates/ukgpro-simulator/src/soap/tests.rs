//! Tables of envelopes that an endpoint accepts, and of those it refuses.

use super::*;
use crate::call::tests::{soap_call, text};

const ACTION: &str = "urn:do";

const RIGHT: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">urn:do</a:Action><k:Key xmlns:k="urn:k">v</k:Key></s:Header><s:Body><b xmlns="urn:b"/></s:Body></s:Envelope>"#;

fn read_one(body: &str) -> Result<Envelope, Refusal> {
    read(&soap_call("/services/X", body), ACTION, &[("urn:k", "Key")])
}

#[test]
fn a_right_envelope_is_taken_whatever_its_prefixes() {
    let other = RIGHT
        .replace("<s:", "<soapenv:")
        .replace("</s:", "</soapenv:")
        .replace(" s:must", " soapenv:must")
        .replace("xmlns:s=", "xmlns:soapenv=")
        .replace("<a:", "<wsa:")
        .replace("</a:", "</wsa:")
        .replace("xmlns:a=", "xmlns:wsa=");
    for body in [RIGHT.to_owned(), other] {
        let envelope = read_one(&body).expect(&body);
        assert!(envelope.body.is("urn:b", "b"));
        assert_eq!(header_text(&envelope.headers, "urn:k", "Key").ok(), Some("v"));
    }
}

#[test]
fn each_departure_from_the_protocol_is_refused_in_its_own_way() {
    let cases = [
        ("not XML", "hello", "400", "outside the root"),
        ("cut off", &RIGHT[..200], "400", "not"),
        ("no envelope", "<x/>", "400", "not Envelope"),
        ("SOAP 1.1", &RIGHT.replace(SOAP12, SOAP11), "500", "<s:Value>s:VersionMismatch</s:Value>"),
        ("unknown envelope", &RIGHT.replace(SOAP12, "urn:x"), "400", "namespace is not"),
        (
            "no action",
            &RIGHT.replace("a:Action", "k:Action").replace("<k:Action", "<k:Action xmlns:k='urn:k'"),
            "500",
            "a:ActionNotSupported",
        ),
        ("other action", &RIGHT.replace("urn:do", "urn:else"), "500", "a:ActionNotSupported"),
        (
            "older addressing",
            &RIGHT.replace(ADDRESSING, "http://schemas.xmlsoap.org/ws/2004/08/addressing"),
            "500",
            "a:ActionNotSupported",
        ),
        (
            "mustUnderstand in capitals",
            &RIGHT.replace("<k:Key", "<k:Key s:mustUnderstand='True'"),
            "400",
            "neither true nor false",
        ),
        ("two actions", &RIGHT.replace("<k:Key", "<a:Action>urn:do</a:Action><k:Key"), "500", "more than one Action"),
        (
            "header not understood",
            &RIGHT.replace("<k:Key xmlns:k", "<k:Other s:mustUnderstand='true' xmlns:k").replace("</k:Key>", "</k:Other>"),
            "500",
            "<s:Value>s:MustUnderstand</s:Value>",
        ),
        ("mustUnderstand unclear", &RIGHT.replace("<k:Key", "<k:Key s:mustUnderstand='yes'"), "400", "neither true nor false"),
        ("header without namespace", &RIGHT.replace("<k:Key", "<Key>v</Key><k:Key"), "400", "has no namespace"),
        ("no body", &RIGHT.replace(r#"<s:Body><b xmlns="urn:b"/></s:Body>"#, ""), "400", "followed by a Body"),
        ("empty body", &RIGHT.replace(r#"<b xmlns="urn:b"/>"#, ""), "500", "DeserializationFailed"),
        ("two in the body", &RIGHT.replace("</s:Body>", "<c/></s:Body>"), "500", "exactly one element"),
        ("text in the body", &RIGHT.replace("</s:Body>", "x</s:Body>"), "400", "text in the Body"),
        ("after the body", &RIGHT.replace("</s:Envelope>", "<s:Header/></s:Envelope>"), "400", "after the Body"),
    ];
    for (case, body, status, says) in cases {
        let refusal = read_one(body).expect_err(case);
        let shown = text(&refusal.reply);
        assert_eq!(refusal.reply.status.as_str(), status, "{case}: {shown}");
        assert!(shown.contains(says), "{case}: {shown}");
        assert!(!refusal.note.is_empty(), "{case}");
    }
}

#[test]
fn a_header_that_need_not_be_understood_is_passed_over() {
    let body = RIGHT
        .replace("<k:Key", "<k:Other xmlns:k='urn:z'>1</k:Other><a:MessageID s:mustUnderstand='1'>urn:1</a:MessageID><k:Key");
    assert!(read_one(&body).is_ok());
}

#[test]
fn content_type_and_method_come_first() {
    let content_types = [
        ("application/soap+xml; charset=utf-8", 200),
        ("Application/SOAP+XML;charset=\"UTF-8\"; action=\"urn:do\"", 200),
        ("application/soap+xml", 200),
        ("text/xml; charset=utf-8", 415),
        ("application/xml", 415),
        ("application/soap+xml; charset=iso-8859-1", 415),
        ("application/soap+xml; action=urn:else", 500),
        ("application/soap+xml; action=\"\"", 500),
        ("", 415),
    ];
    for (content_type, status) in content_types {
        let mut call = soap_call("/services/X", RIGHT);
        call.headers.insert("content-type", content_type.parse().expect("a header value"));
        let got = read(&call, ACTION, &[]).map_or_else(|refusal| refusal.reply.status.as_u16(), |_| 200);
        assert_eq!(got, status, "{content_type}");
    }
    let mut call = soap_call("/services/X", RIGHT);
    call.method = Method::PUT;
    let refusal = read(&call, ACTION, &[]).expect_err("only POST");
    assert_eq!(refusal.reply.reason, None);
    assert_eq!(refusal.reply.status, 405);
    assert_eq!(refusal.reply.headers["allow"], "POST");
    let mut call = soap_call("/services/X", RIGHT);
    call.headers.insert("content-encoding", "gzip".parse().expect("a header value"));
    assert_eq!(read(&call, ACTION, &[]).expect_err("compressed").reply.status, 415);
}

#[test]
fn a_missing_header_is_told_from_one_in_the_wrong_namespace() {
    let headers = |more: &str| {
        let document = format!("<h xmlns:k='urn:k' xmlns:o='urn:o'>{more}</h>");
        xml::read(document.as_bytes()).expect("well-formed").children
    };
    for (more, says) in [
        ("", "is missing"),
        ("<o:Key>v</o:Key>", "in the namespace `urn:o` and not in urn:k"),
        ("<k:Key><k:v/></k:Key>", "holds an element"),
    ] {
        let refusal = header_text(&headers(more), "urn:k", "Key").expect_err(more);
        assert!(refusal.note.contains(says), "{more}: {}", refusal.note);
    }
    assert_eq!(header_text(&headers("<k:Key/>"), "urn:k", "Key").ok(), Some(""));
    assert_eq!(header_text(&headers("<k:Key>1</k:Key><k:Key>2</k:Key>"), "urn:k", "Key").ok(), Some("2"), "the last counts");
}

#[test]
fn the_action_of_the_content_type_wins_over_the_header() {
    let cases = [
        ("urn:do", RIGHT.replace("urn:do", "urn:else"), Some("the Action header is not the action of the content type")),
        ("urn:do", RIGHT.to_owned(), None),
    ];
    for (action, body, note) in cases {
        let mut call = soap_call("/services/X", &body);
        call.headers.insert("content-type", format!("application/soap+xml; action=\"{action}\"").parse().expect("a value"));
        let envelope = read(&call, ACTION, &[]).unwrap_or_else(|refusal| panic!("{}", refusal.note));
        assert_eq!(envelope.notes.first().map(String::as_str), note);
    }
    let mut call = soap_call("/services/X", RIGHT);
    call.headers.insert("content-type", "application/soap+xml; action=\"urn:else\"".parse().expect("a value"));
    assert!(text(&read(&call, ACTION, &[]).expect_err("unknown").reply).contains("a:ActionNotSupported"));
}

#[test]
fn a_header_twice_is_noted_whichever_counts() {
    let twice = RIGHT.replace("</s:Header>", "<k:Key xmlns:k='urn:k'>w</k:Key></s:Header>");
    let envelope = read_one(&twice).unwrap_or_else(|refusal| panic!("{}", refusal.note));
    assert_eq!(envelope.notes, ["the header Key is there more than once: the last counts"]);
}

#[test]
fn an_answer_names_the_message_that_it_is_for_if_its_id_can_be_repeated() {
    let with = |id: &str| soap_call("/services/X", &RIGHT.replace("<k:Key", &format!("<a:MessageID>{id}</a:MessageID><k:Key")));
    assert_eq!(message_id(&with(" urn:uuid:1&amp;2 ")).as_deref(), Some("urn:uuid:1&2"));
    for none in [with(""), with(&"x".repeat(LONGEST_ECHO + 1)), soap_call("/services/X", RIGHT), soap_call("/", "MessageID")] {
        assert_eq!(message_id(&none), None);
    }
    let answered = Fault::new("Sender", None, "x").reply().answering(Some("1&2".to_owned()), true);
    assert!(text(&answered).starts_with("\u{feff}<s:Envelope "));
    assert!(text(&answered).contains("<a:RelatesTo>1&amp;2</a:RelatesTo>"));
    let silent = Fault::new("Sender", None, "x").reply().answering(None, false);
    assert!(text(&silent).starts_with("<s:Envelope ") && !text(&silent).contains("RelatesTo"));
}

#[test]
fn a_code_that_is_not_of_soap_stands_bare() {
    let bare = text(&Fault::new("InternalServiceFault", None, "x").reply());
    assert!(
        bare.contains(&format!(r#"<s:Code><s:Value xmlns:a="{DISPATCHER}">a:InternalServiceFault</s:Value></s:Code>"#)),
        "{bare}"
    );
}

#[test]
fn a_fault_reads_as_one_and_its_subcode_has_a_namespace() {
    for (subcode, namespace) in
        [("FailedAuthentication", SECURITY), ("ActionNotSupported", ADDRESSING), ("DeserializationFailed", DISPATCHER)]
    {
        let reply = Fault::new("Sender", Some(subcode), "a < b").reply();
        let root = xml::read(text(&reply).as_bytes()).expect("well-formed");
        let fault = &root.child(SOAP12, "Body").expect("a body").children[0];
        assert!(fault.is(SOAP12, "Fault"));
        assert!(text(&reply).contains(&format!(r#"xmlns:a="{namespace}">a:{subcode}<"#)));
        assert_eq!(fault.child(SOAP12, "Reason").map(|reason| reason.children[0].text.as_str()), Some("a < b"));
        assert_eq!(reply.status, 500);
    }
}
