package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// accounts are those of the settings, and no others for as long as the gateway runs. What versitygw calls a user can
// neither make buckets nor do anything that the bucket's policy does not allow. What would change accounts answers that
// it cannot.
type accounts struct {
	auth.IAMService
	users map[string]auth.Account
}

func newAccounts(s childSettings) accounts {
	a := accounts{
		IAMService: auth.NewIAMServiceSingle(auth.Account{Access: s.AccessKey, Secret: s.SecretKey,
			Role: auth.RoleAdmin}),
		users: map[string]auth.Account{},
	}
	for access, secret := range s.Accounts {
		a.users[access] = auth.Account{Access: access, Secret: secret, Role: auth.RoleUser}
	}
	return a
}

// GetUserAccount implements auth.IAMService. versitygw handles the root account itself.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	if user, ok := a.users[access]; ok {
		return user, nil
	}
	return auth.Account{}, auth.ErrNoSuchUser
}

// ResolveAccounts implements auth.IAMService: it returns those that do not exist.
func (a accounts) ResolveAccounts(names []string) ([]string, error) {
	var missing []string
	for _, name := range names {
		if _, ok := a.users[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// ensureBucket makes the settings' bucket when it is missing, gives it to the root account, and makes its policy the
// one of the settings, if those have one. It runs before the gateway listens, so no request sees the bucket with
// another policy.
func (d *durable) ensureBucket(ctx context.Context, s childSettings, iam auth.IAMService) error {
	if len(s.Policy) > 0 {
		if err := auth.ValidatePolicyDocument(s.Policy, s.Bucket, iam); err != nil {
			return fmt.Errorf("policy of bucket %s: %w", s.Bucket, err)
		}
	}
	acl, err := json.Marshal(auth.ACL{Owner: s.AccessKey})
	if err != nil {
		return fmt.Errorf("bucket %s: %w", s.Bucket, err)
	}
	_, err = d.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.Bucket})
	if errors.Is(err, s3err.GetAPIError(s3err.ErrNoSuchBucket)) {
		err = d.Posix.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: &s.Bucket, ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced,
			CreateBucketConfiguration: &types.CreateBucketConfiguration{},
		}, acl)
	}
	if err != nil {
		return fmt.Errorf("make bucket %s: %w", s.Bucket, err)
	}
	// An earlier root account may have had another name, and a start that was cut off may have left no owner at all.
	raw, err := d.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &s.Bucket})
	if err != nil {
		return fmt.Errorf("owner of bucket %s: %w", s.Bucket, err)
	}
	if owned, err := auth.ParseACL(raw); err != nil || owned.Owner != s.AccessKey {
		if err := d.PutBucketAcl(ctx, s.Bucket, acl); err != nil {
			return fmt.Errorf("owner of bucket %s: %w", s.Bucket, err)
		}
	}
	old, err := d.GetBucketPolicy(ctx, s.Bucket)
	if err != nil && !errors.Is(err, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)) {
		return fmt.Errorf("policy of bucket %s: %w", s.Bucket, err)
	}
	if len(s.Policy) > 0 && !bytes.Equal(old, s.Policy) {
		if err := d.PutBucketPolicy(ctx, s.Bucket, s.Policy); err != nil {
			return fmt.Errorf("policy of bucket %s: %w", s.Bucket, err)
		}
	}
	return d.syncBucket(s.Bucket)
}
