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
func (k *Key) run(ctx context.Context, data io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("it takes more than %s", commandLimit))
	defer cancel()
	out, message := bounded{max: maxSignature}, bounded{max: maxMessage, cut: true}
	cmd := lifeline.Supervised(ctx, k.command[0], k.command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"} // nothing of the program's own: it has secrets
	cmd.Stdin, cmd.Stdout, cmd.Stderr = data, &out, &message
	err := cmd.Run()
	failed := func(err error) error { return fmt.Errorf("signing command %s: %w", k.command[0], err) }
	switch said := printable.Name(strings.TrimSpace(string(message.buf))); {
	case out.more:
		return nil, failed(fmt.Errorf("it writes more than %d bytes, which is not a signature", maxSignature))
	case err != nil && said != "":
		return nil, failed(fmt.Errorf("%w: %s", err, said))
	case err != nil:
		return nil, failed(err)
	case len(out.buf) == 0:
		return nil, failed(errors.New("it writes nothing, where a signature is expected"))
	}
	raw := out.buf
	if bytes.HasPrefix(raw, []byte("-----BEGIN")) {
		block, err := armor.Decode(bytes.NewReader(raw))
		if err != nil || block.Type != openpgp.SignatureType {
			return nil, failed(errors.New("its output is not a detached signature"))
		}
		if raw, err = io.ReadAll(block.Body); err != nil {
			return nil, failed(fmt.Errorf("its output is not a detached signature: %w", err))
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
