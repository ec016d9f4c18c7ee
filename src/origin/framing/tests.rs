use super::*;

fn framing_of(version: Version, status: u16, fields: &[(&'static str, &'static str)]) -> Option<Framing> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    determine(StatusCode::from_u16(status).unwrap(), version, &headers, false).ok()
}

#[test]
fn only_unambiguous_framing_is_accepted() {
    let te = "transfer-encoding";
    let cl = "content-length";
    let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
    for (version, status, fields, expected) in [
        (v11, 200, &[(te, "Chunked ")][..], Some(Framing::Chunked)),
        (v11, 200, &[(cl, "7")], Some(Framing::Length(7))),
        (v11, 200, &[(cl, "7, 7")], Some(Framing::Length(7))),
        (v11, 200, &[(cl, "7"), (cl, "7")], Some(Framing::Length(7))),
        (v11, 200, &[(cl, "0")], Some(Framing::NoBody)),
        (v11, 200, &[], Some(Framing::UntilClose)),
        (v10, 200, &[], Some(Framing::UntilClose)),
        (v10, 200, &[(cl, "7")], Some(Framing::Length(7))),
        (v11, 200, &[(te, ", chunked,")], Some(Framing::Chunked)),
        (v11, 200, &[(cl, "7,, 7,")], Some(Framing::Length(7))),
        (v11, 204, &[(cl, "7")], Some(Framing::NoBody)),
        (v11, 204, &[(te, "chunked"), (cl, "7")], Some(Framing::NoBody)),
        (v11, 304, &[(cl, "x")], Some(Framing::NoBody)),
        (v11, 304, &[(cl, "7")], Some(Framing::NoBody)),
        (v11, 200, &[(te, "chunked"), (cl, "7")], None),
        (v11, 200, &[(te, "gzip, chunked")], None),
        (v11, 200, &[(te, "gzip"), (te, "chunked")], None),
        (v11, 200, &[(te, "chunked"), (te, "chunked")], None),
        (v11, 200, &[(te, "identity")], None),
        (v11, 200, &[(te, "")], None),
        (v11, 200, &[(cl, "+7")], None),
        (v11, 200, &[(cl, "7, 8")], None),
        (v11, 200, &[(cl, "7"), (cl, "8")], None),
        (v11, 200, &[(cl, "")], None),
        (v10, 200, &[(te, "chunked")], None),
        (v11, 101, &[], None),
    ] {
        assert_eq!(framing_of(version, status, fields), expected, "{version:?} {status} {fields:?}");
    }
}

#[test]
fn repeated_content_length_is_merged() {
    let mut headers = HeaderMap::new();
    headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("7, 7"));
    headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
    merge_content_length(&mut headers);
    assert_eq!(headers.get_all(header::CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["7"]);
    let mut with_coding = headers.clone();
    with_coding.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    merge_content_length(&mut with_coding);
    assert!(!with_coding.contains_key(header::CONTENT_LENGTH));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("x"));
    merge_content_length(&mut headers);
    assert!(headers.is_empty());
}

#[test]
fn response_decides_whether_the_connection_closes() {
    for (version, value, expected) in [
        (Version::HTTP_11, None, false),
        (Version::HTTP_11, Some("x, Close"), true),
        (Version::HTTP_10, None, true),
        (Version::HTTP_10, Some("Keep-Alive"), false),
    ] {
        let fields = value.map(|value| (header::CONNECTION, HeaderValue::from_static(value)));
        let headers = fields.into_iter().collect::<HeaderMap>();
        assert_eq!(closes_connection(version, &headers), expected, "{version:?} {value:?}");
    }
}
