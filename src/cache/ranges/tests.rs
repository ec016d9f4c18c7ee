use super::*;

const WHOLE: Bytes = Bytes::from_static(b"0123456789");

fn slice(range: &[u8], whole: &Bytes, content_type: Option<&HeaderValue>) -> Slice {
    super::slice(range, &whole.clone().into(), content_type)
}

#[test]
fn one_part_shares_the_bytes() {
    let Slice::One { body, content_range } = slice(b"bytes=2-4", &WHOLE, None) else { panic!("one part") };
    assert_eq!(body, "234");
    assert_eq!(body.as_one().unwrap().as_ptr(), WHOLE[2..].as_ptr());
    assert_eq!(content_range, "bytes 2-4/10");
}

#[test]
fn several_parts_are_one_multipart_body() {
    let html = HeaderValue::from_static("text/html");
    let Slice::Several { body, content_type } = slice(b"bytes=0-1,8-", &WHOLE, Some(&html)) else {
        panic!("several parts")
    };
    let boundary = content_type.to_str().unwrap().split_once("boundary=").unwrap().1.to_owned();
    let expected = format!(
        "--{boundary}\r\ncontent-type: text/html\r\ncontent-range: bytes 0-1/10\r\n\r\n01\r\n\
         --{boundary}\r\ncontent-type: text/html\r\ncontent-range: bytes 8-9/10\r\n\r\n89\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!(body, *expected);
    let shared: Vec<_> = body.slices().map(<[u8]>::as_ptr).collect();
    assert_eq!((shared[1], shared[3]), (WHOLE.as_ptr(), WHOLE[8..].as_ptr()));
}

#[test]
fn ranges_of_many_pieces_share_all_pieces() {
    let pieces: Pieces = (0..1_000).map(|_| Bytes::from_static(&[b'x'; 1_000])).collect();
    let Slice::Several { body, .. } = super::slice(b"bytes=0-399999,600000-", &pieces, None) else {
        panic!("several parts")
    };
    assert_eq!(body.iter().count(), 800 + 3);
}

#[test]
fn an_unsatisfiable_range_is_reported() {
    let Slice::Unsatisfiable { content_range } = slice(b"bytes=10-", &WHOLE, None) else { panic!("416") };
    assert_eq!(content_range, "bytes */10");
    assert!(matches!(slice(b"lines=1-2", &WHOLE, None), Slice::Complete));
}
