package sign

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Tags of rpmtag.h.
const (
	// Regions: the first tag of a header, which says what part of it is protected.
	tagSignatures, tagImmutable = 62, 63

	// In the signature header.
	tagDSA      = 267 // a signature of the header by DSA, ECDSA or EdDSA
	tagRSA      = 268 // the same by RSA
	tagSHA256   = 273
	tagOpenPGP  = 278 // any number of signatures of the header, in base64: rpm 6
	tagSHA3     = 279
	tagReserved = 999 // room for signatures in packages of version 6

	// In the signature header, where numbers from 1000 on mean something else than in the header proper.
	tagPGP           = 1002 // signatures of header and payload: rpm before 4.14
	tagGPG           = 1005
	tagPGP5          = 1006
	tagReservedSpace = 1008 // room for signatures in packages of version 4

	// In the header proper.
	tagPayloadDigest = 5092
	tagFormat        = 5114
)

// Types of values.
const (
	typeInt16, typeInt32, typeInt64 = 3, 4, 5

	typeString  = 6
	typeBin     = 7
	typeStrings = 8
	typeI18N    = 9
)

const (
	headerMagic          = "\x8e\xad\xe8\x01\x00\x00\x00\x00"
	introSize, entrySize = 16, 16
	firstTag             = 100      // lower ones are regions
	maxData              = 64 << 20 // of a signature header, by rpm (hdrblobVerifyLengths)
)

// entry is a tag with its value as it stands in the file.
type entry struct {
	tag, kind, count uint32
	data             []byte
}

// parse reads a header that begins with its magic number; what follows the header is not looked at. It is as strict as
// rpm (hdrblobVerifyRegion, hdrblobVerifyInfo). The region's own entry is not in the result.
func parse(raw []byte, region uint32) ([]entry, error) {
	if len(raw) < introSize || string(raw[:8]) != headerMagic {
		return nil, errors.New("no magic number")
	}
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(raw[at:]) }
	n, size := int(u32(8)), int(u32(12))
	start := introSize + n*entrySize
	if n < 1 || size < entrySize || len(raw)-size < start {
		return nil, fmt.Errorf("%d tags in %d bytes do not fit", n, size)
	}
	// What is outside of the region is not signed, so the region must be the whole header.
	data, trailer := raw[start:start+size-entrySize], raw[start+size-entrySize:start+size]
	if !bytes.Equal(raw[introSize:introSize+entrySize], regionEntry(region, len(data))) ||
		!bytes.Equal(trailer, regionEntry(region, -n*entrySize)) {
		return nil, fmt.Errorf("region %d is missing, or is not the whole header", region)
	}
	entries := make([]entry, 0, n-1)
	end := 0 // of the value before
	for at := introSize + entrySize; at < start; at += entrySize {
		e := entry{tag: u32(at), kind: u32(at + 4), count: u32(at + 12)}
		offset := int(u32(at + 8))
		if e.tag < firstTag || offset < end || offset > len(data) || offset%e.width() != 0 {
			return nil, fmt.Errorf("tag %d of type %d at %d is not valid", e.tag, e.kind, offset)
		}
		length := e.length(data[offset:])
		if length < 1 || length > len(data)-offset {
			return nil, fmt.Errorf("tag %d of type %d does not have %d values", e.tag, e.kind, e.count)
		}
		end = offset + length
		e.data = data[offset:end:end]
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.tag, b.tag) })
	for i := 1; i < len(entries); i++ {
		if entries[i].tag == entries[i-1].tag {
			return nil, fmt.Errorf("tag %d is there twice", entries[i].tag)
		}
	}
	return entries, nil
}

// width is the size of one value, which is also its alignment; 1 for bytes and strings.
func (e entry) width() int {
	switch e.kind {
	case typeInt16:
		return 2
	case typeInt32:
		return 4
	case typeInt64:
		return 8
	}
	return 1
}

// length is that of the value at the beginning of data; 0 if there is none. It may be more than there is.
func (e entry) length(data []byte) int {
	switch {
	case e.kind < 1 || e.kind > typeI18N || e.kind == typeString && e.count != 1:
		return 0
	case e.kind != typeString && e.kind != typeStrings && e.kind != typeI18N:
		return int(e.count) * e.width()
	}
	length := 0
	for range e.count {
		n := bytes.IndexByte(data[length:], 0)
		if n < 0 {
			return 0
		}
		length += n + 1
	}
	return length
}

// texts are the values of a tag with strings.
func (e entry) texts() []string {
	if e.kind != typeString && e.kind != typeStrings && e.kind != typeI18N {
		return nil
	}
	var all []string
	for text := range bytes.SplitSeq(bytes.TrimSuffix(e.data, []byte{0}), []byte{0}) {
		all = append(all, string(text))
	}
	return all
}

// find returns the tag's entry.
func find(entries []entry, tag uint32) (entry, bool) {
	i, ok := slices.BinarySearchFunc(entries, tag, func(e entry, tag uint32) int { return cmp.Compare(e.tag, tag) })
	if !ok {
		return entry{}, false
	}
	return entries[i], true
}

// format writes a header with one region that is all of it.
func format(entries []entry, region uint32) []byte {
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.tag, b.tag) })
	var index, data []byte
	for _, e := range entries {
		for len(data)%e.width() != 0 {
			data = append(data, 0)
		}
		for _, v := range []uint32{e.tag, e.kind, uint32(len(data)), e.count} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(data, e.data...)
	}
	n := len(entries) + 1
	out := binary.BigEndian.AppendUint32([]byte(headerMagic), uint32(n))
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)+entrySize))
	out = append(out, regionEntry(region, len(data))...)
	out = append(out, index...)
	out = append(out, data...)
	return append(out, regionEntry(region, -n*entrySize)...)
}

// regionEntry is the first entry of an index, which says where the data of the region end, and what stands there: the
// size of the index, negative.
func regionEntry(region uint32, offset int) []byte {
	var b []byte
	for _, v := range []uint32{region, typeBin, uint32(offset), entrySize} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}
