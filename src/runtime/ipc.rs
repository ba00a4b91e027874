//! Frames between a process and its workers: a length of four bytes, little-endian, then a value as
//! postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest frame, in bytes. The longest there is is a job: a manifest and the paths of its files.
pub(crate) const MAX_FRAME: usize = 1 << 30;
/// Room that is made for a frame before its bytes come, so that a wrong length costs nothing.
const FIRST_ROOM: u64 = 64 << 10;

/// The frame of `value`.
///
/// # Errors
///
/// When it would be longer than [`MAX_FRAME`].
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(value, vec![0; 4]).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(too_long(length));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Writes the frame of `value`.
///
/// # Errors
///
/// Of the writer, and those of [`encode`].
pub(crate) fn write<T: Serialize>(writer: &mut impl Write, value: &T) -> io::Result<()> {
    writer.write_all(&encode(value)?)
}

/// The next value, or `None` where the stream ends between two frames.
///
/// # Errors
///
/// Of the reader; `UnexpectedEof` where the stream ends within a frame; `InvalidData` where the
/// frame is too long or not the value expected.
pub(crate) fn read<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match reader.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = checked(length)?;
    let mut body = Vec::with_capacity(length.min(FIRST_ROOM) as usize);
    reader.take(length).read_to_end(&mut body)?;
    decode(&body, length).map(Some)
}

/// [`read`] in a task. Not to be dropped before it ends: what was read would be lost.
///
/// # Errors
///
/// Those of [`read`].
pub(crate) async fn read_async<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match reader.read(&mut length[filled..]).await? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let length = checked(length)?;
    let mut body = Vec::with_capacity(length.min(FIRST_ROOM) as usize);
    reader.take(length).read_to_end(&mut body).await?;
    decode(&body, length).map(Some)
}

fn checked(length: [u8; 4]) -> io::Result<u64> {
    let length = u32::from_le_bytes(length);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME => Ok(length as u64),
        _ => Err(too_long(length as usize)),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8], length: u64) -> io::Result<T> {
    if (body.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let (value, rest) = postcard::take_from_bytes(body).map_err(invalid)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(invalid(postcard::Error::DeserializeBadEncoding))
    }
}

fn too_long(length: usize) -> io::Error {
    let words = format!("a frame of {length} bytes is longer than {MAX_FRAME}");
    io::Error::new(io::ErrorKind::InvalidData, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::job::{Note, Traffic};

    fn notes() -> Vec<Note> {
        vec![
            Note::Progress(7),
            Note::Lost("é".to_owned()),
            Note::Finished(Traffic::default()),
        ]
    }

    fn stream() -> Vec<u8> {
        let mut stream = Vec::new();
        for note in notes() {
            write(&mut stream, &note).unwrap();
        }
        stream
    }

    fn read_all(mut stream: &[u8]) -> io::Result<Vec<Note>> {
        let mut all = Vec::new();
        while let Some(note) = read(&mut stream)? {
            all.push(note);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn both_readers_read_what_was_written() {
        let stream = stream();
        assert_eq!(read_all(&stream).unwrap(), notes());
        let mut reader = stream.as_slice();
        for note in notes() {
            assert_eq!(read_async(&mut reader).await.unwrap(), Some(note));
        }
        assert_eq!(read_async::<Note>(&mut reader).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_cut_stream_is_an_error_but_between_frames() {
        let stream = stream();
        let mut ends = vec![0];
        for note in notes() {
            ends.push(ends.last().unwrap() + encode(&note).unwrap().len());
        }
        for cut in 0..stream.len() {
            let result = read_all(&stream[..cut]);
            match ends.iter().position(|&end| end == cut) {
                Some(count) => assert_eq!(result.unwrap().len(), count),
                None => assert_eq!(
                    result.unwrap_err().kind(),
                    io::ErrorKind::UnexpectedEof,
                    "cut at {cut}"
                ),
            }
        }
        let mut cut = &stream[..2];
        let error = read_async::<Note>(&mut cut).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_or_not_filled_is_refused() {
        let long = (MAX_FRAME as u32 + 1).to_le_bytes();
        let invalid = io::ErrorKind::InvalidData;
        assert_eq!(read_all(&long).unwrap_err().kind(), invalid);
        let mut reader = long.as_slice();
        let error = read_async::<Note>(&mut reader).await.unwrap_err();
        assert_eq!(error.kind(), invalid);
        let mut padded = encode(&Note::Progress(7)).unwrap();
        padded.push(0);
        padded[0] += 1;
        assert_eq!(read_all(&padded).unwrap_err().kind(), invalid);
        assert_eq!(read_all(&[1, 0, 0, 0, 99]).unwrap_err().kind(), invalid);
    }
}
