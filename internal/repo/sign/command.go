package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/printable"
)

const (
	commandLimit = time.Minute // for one signature
	maxSignature = 64 << 10    // of what a command writes; a signature has some hundred bytes
	maxMessage   = 4 << 10     // of what it writes to its standard error
)

// run has the command sign. It returns the signature as binary.
func (k *Key) run(ctx context.Context, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("it takes more than %s", commandLimit))
	defer cancel()
	out, message := bounded{max: maxSignature}, bounded{max: maxMessage, cut: true}
	cmd := lifeline.Supervised(ctx, k.command[0], k.command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"} // nothing of the program's own: it has secrets
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &out, &message
	err := cmd.Run()
	switch {
	case out.more:
		return nil, errors.New("signing command: it writes more than a signature")
	case err != nil:
		return nil, fmt.Errorf("signing command: %w: %s", err, printable.Name(strings.TrimSpace(string(message.buf))))
	}
	raw := out.buf
	if bytes.HasPrefix(raw, []byte("-----BEGIN")) {
		block, err := armor.Decode(bytes.NewReader(raw))
		if err != nil || block.Type != openpgp.SignatureType {
			return nil, errors.New("signing command: its output is not a detached signature")
		}
		if raw, err = io.ReadAll(block.Body); err != nil {
			return nil, fmt.Errorf("signing command: its output is not a detached signature: %w", err)
		}
	}
	return raw, nil
}

// bounded keeps the first bytes of what is written to it. More are cut off, or break the pipe.
type bounded struct {
	max  int
	cut  bool
	buf  []byte
	more bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(b.max-len(b.buf), len(p))
	b.buf = append(b.buf, p[:n]...)
	b.more = b.more || n < len(p)
	if b.more && !b.cut {
		return n, io.ErrShortWrite
	}
	return len(p), nil
}
