package storage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// right allows actions on all objects below some prefixes.
type right struct {
	actions  []string
	prefixes []string
}

// Actions of S3's policies. HEAD is a GetObject. PutObject covers the parts of an upload, but for giving one up.
const (
	actionList   = "s3:ListBucket"
	actionGet    = "s3:GetObject"
	actionPut    = "s3:PutObject"
	actionDelete = "s3:DeleteObject"
	actionAbort  = "s3:AbortMultipartUpload"
)

// rights are what a role's account may do with objects; nil for a role that has no account. No role may replace the
// bucket's policy, and a builder, which is nearest to foreign code, can delete nothing.
func rights(role rpmflow.Role) []right {
	const builds, sources, uploads, repos = "builds/", "sources/", "uploads/", "repos/"
	switch role {
	case rpmflow.RoleListener: // hands artifacts and repositories on to users, and takes source packages from them
		return []right{
			{[]string{actionGet}, []string{builds, repos}},
			{[]string{actionGet, actionPut, actionAbort}, []string{uploads}},
		}
	// stores artifacts, looks whether they arrived, keeps sources, and reads what was uploaded
	case rpmflow.RoleBuilder:
		return []right{
			{[]string{actionGet, actionPut, actionAbort}, []string{builds, sources}},
			{[]string{actionGet}, []string{uploads}},
		}
	case rpmflow.RolePublisher: // copies packages into repositories, and removes what is old from those
		return []right{
			{[]string{actionGet}, []string{builds}},
			{[]string{actionGet, actionPut, actionAbort, actionDelete}, []string{repos}},
		}
	default:
		return nil
	}
}

// Roles are those that have an account of their own.
func Roles() []rpmflow.Role {
	return []rpmflow.Role{rpmflow.RoleListener, rpmflow.RoleBuilder, rpmflow.RolePublisher}
}

// The form of policies is that of AWS ("IAM JSON policy elements reference"); versitygw, MinIO and Ceph read it too.
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string
	Effect    string
	Principal *principal `json:",omitempty"`
	Action    []string
	Resource  []string
}

type principal struct {
	AWS []string
}

// BucketPolicy is the policy, in JSON, of a bucket that belongs to none of the roles. principals names the account of
// each role that shall have rights, as the storage calls it: an access key, or an ARN.
func BucketPolicy(bucket string, principals map[rpmflow.Role]string) ([]byte, error) {
	p := newPolicy()
	for _, role := range Roles() {
		if name, ok := principals[role]; ok {
			p.add(bucket, role, &principal{AWS: []string{name}})
		}
	}
	for role := range principals {
		if !slices.Contains(Roles(), role) {
			return nil, noAccount(role)
		}
	}
	return json.Marshal(p)
}

// RolePolicy is the policy, in JSON, of one role's own account, for storages that keep rights with accounts.
func RolePolicy(bucket string, role rpmflow.Role) ([]byte, error) {
	if !slices.Contains(Roles(), role) {
		return nil, noAccount(role)
	}
	p := newPolicy()
	p.add(bucket, role, nil)
	return json.Marshal(p)
}

func noAccount(role rpmflow.Role) error {
	var names []string
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return fmt.Errorf("role %q has no S3 account: those that have one are %s", role, strings.Join(names, ", "))
}

func newPolicy() *policy { return &policy{Version: "2012-10-17"} }

// add allows what the role needs. Each may list the whole bucket, which shows names, and no content: only to
// those S3 reports that an object is missing; all others, and those who may list some prefixes, get "forbidden".
func (p *policy) add(bucket string, role rpmflow.Role, who *principal) {
	arn := "arn:aws:s3:::" + bucket
	name := strings.ToUpper(string(role[:1])) + string(role[1:])
	allow := func(sid string, actions, resources []string) {
		p.Statement = append(p.Statement, statement{
			Sid: name + sid, Effect: "Allow", Principal: who, Action: actions, Resource: resources,
		})
	}
	allow("Bucket", []string{actionList}, []string{arn})
	for i, r := range rights(role) {
		resources := make([]string, 0, len(r.prefixes))
		for _, prefix := range r.prefixes {
			resources = append(resources, arn+"/"+prefix+"*")
		}
		allow(fmt.Sprintf("Objects%d", i+1), r.actions, resources)
	}
}
