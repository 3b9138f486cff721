/** 256 u32, little endian (spec formats 7.2). */
const encoded =
  'UueLRcxIB8G427z7aFvtbbWCCrFIVtcgX2bF3wGIQqiRUb9+xzURhLNTzGV8WQooVQL2Fj68jMf1FUQplNQ4uebEhezcPtO3RLVJ5aql7f2H8iuIfHMWMVaZVgVoH8zoXqwGCENEoSIQ' +
  'fikV55DQUG8Ppkun8dnvXIhcXJMvSIJkfP2bdnI+C3eOaPK8iq2PaJVQsJ+irfH+/T6lAB0ry4bpqfIrQ2NkUUAJldI6IlobQOiby3nlYRRqVRrC/UBY9t1hkrsC4M2wK0NSPjcXvy8i' +
  'fHsW7VUpWcoQn8nEQOgG2KvMND9UFHpBYhScH0oNJdl+CEzy+NclxDhz9ciGz81lkbGTw5GYrIRTMp1FCAN+HRSGahEiybam/+LtKvVTl2HYLJj0ufWPnDG/rh9B4Iyxfpd2CXfYakYz' +
  'mH/fdMZFfSmMJo2kjOLYnsR0+ERzx3lvVe3qJWtCKz6gpGaP9qIJi44q5uDyBpg6DZPkKZf8sHKM9pQLFj1NDkWFDjJ64fD4vlM21yF6lz1OKTl7HhnHxhxTjUe+CSh1jcbC2OaSCF8n' +
  'c8KsyIAVwkwXpsTscL739YoklefpL1o3tnBVQvjcmIjEly3cSxEGAS/CTTYfrQwePIBjvsL6aV9v+lpNtd/AG4k1J/t7f6QOUCscPDKpsiH9IxJrqAbnL+JsvflO5miihvSH6WP1rD6M' +
  'AaIcKILhZQo2ByIVF89XK33DNN48jx/PV7aT/RmgMSm3nuabe8qL7VudTK++fieu+NjgHIJQ0XEYODGw8cOvKLN9kqz/Xum9R1owW6NrQj+vMxKDW2po5XLgUCq709l1xO+L5g1/SIn/' +
  'jcheTWa9GF0bl0dIsWPOwdPX8zxYfwnLy3IcqNDAm0KjfxuKFemaoV4io57K2IKyY8dBYwy7k4ILAp0pzdT4p89YU+60kUDR5DdMduyVBmv3MCSN5l5hhpxnwnkZpIQStvJ1FKxP+Unb' +
  'CiN6chl046cV1Rg6xHOqsT8Vxi80kwdMkvDX4r7pnSeKDNeiSn/TTeILLIa+wiJ8F+7liFMQdYrN/bQB+bw9wdtbrgtsx+jvZHkgsEhJGjOA5oo9ypBhVPOLENf+G5SbxKn0ujJKOoPr' +
  'pfGjiArOkTqhfcI8hOYScbGWMEpMV5Q387bIo0E5IR0ALgpu8Xk0Iy/YTA/S7ZNgniB9XRnjT0aerNzUy0W4DcNLXvvhbCXg0U77CR6+FAnDsr2lu1frxlADMjCRfjk/vJF3piwOvIbi' +
  'p6DvQ3X/6SxhM+d7iYXRiFOeMmsj3ZGTDcsuPSrY9D/AtTXwBubkQxiyBWRZtDf0Iv9ezPQnYDyLF3cxcVCuvMr3e2aNwfll3jpZEd9d2Q==';

function decodeTable(): Int32Array {
  const bytes = Buffer.from(encoded, 'base64');
  return Int32Array.from({ length: 256 }, (_, i) => bytes.readInt32LE(i * 4));
}

/** The reference's table of the rolling hash. As signed numbers: xor and rotation see bits only, and small integers are fast. */
export const buzhashTable = decodeTable();
