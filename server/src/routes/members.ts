import type { Services } from "@agent-engine/core/context.ts";
import { acceptInvitation } from "@agent-engine/core/members/accept-invitation.ts";
import { changeRole } from "@agent-engine/core/members/change-role.ts";
import { createOwnTenant } from "@agent-engine/core/members/create-own-tenant.ts";
import { describeSession } from "@agent-engine/core/members/describe-session.ts";
import { getInvitation } from "@agent-engine/core/members/get-invitation.ts";
import { inviteMember } from "@agent-engine/core/members/invite-member.ts";
import { listMembers } from "@agent-engine/core/members/list-members.ts";
import { signRealtimeToken } from "@agent-engine/core/members/realtime-token.ts";
import { removeMember } from "@agent-engine/core/members/remove-member.ts";
import {
  acceptInvitationRequest,
  invitationRequest,
  memberRequest,
  memberUpdateRequest,
  tenantRequest,
} from "@agent-engine/protocol/schemas/administration.ts";
import type { Api } from "../http/api.ts";
import { chooseMembership, membershipOf } from "../http/authenticate-member.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import {
  invitationSchema,
  memberSchema,
  meSchema,
  realtimeTokenSchema,
  tenantSchema,
} from "../openapi/administration-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const tag = "Members";
const read = { scope: "members:read", visitor: false } as const;
const write = { scope: "members:write", visitor: false } as const;

export function memberRoutes(api: Api, services: Services): void {
  api.account(
    {
      method: "get",
      path: "/v1/me",
      tag,
      summary: "Who is signed in",
      description: "Their tenants, and what they may do in the one the request speaks for (`X-Tenant-Id`).",
      status: 200,
      answer: meSchema,
    },
    async ({ session, c }) => describeSession(session, chooseMembership(session, c)),
  );

  api.account(
    {
      method: "post",
      path: "/v1/realtime-tokens",
      tag,
      summary: "Get a token to open a socket with",
      description:
        "For the handshake's `auth: { token }`, within a minute. The socket lasts for as long as the session does and the member has the role; sockets take no cookies.",
      status: 201,
      answer: realtimeTokenSchema,
    },
    ({ session, c }) => {
      const of = { sessionId: session.id, member: membershipOf(session, c) };
      return signRealtimeToken(services.secrets, of, services.clock());
    },
  );

  api.account(
    {
      method: "post",
      path: "/v1/tenants",
      tag,
      summary: "Make a tenant of one's own",
      description: "Where sign-up is open (`SIGN_UP`). Who makes it is its owner.",
      body: tenantRequest,
      status: 201,
      answer: tenantSchema,
    },
    ({ session, body, correlationId, ip }) =>
      createOwnTenant(services, { session, name: body.name, correlationId, ip }),
  );

  api.route(
    {
      method: "get",
      path: "/v1/members",
      tag,
      summary: "List members and who is invited, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(memberSchema),
    },
    ({ ctx, query }) => listMembers(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "post",
      path: "/v1/members",
      tag,
      summary: "Invite somebody",
      description:
        "By mail, for seven days. Inviting the same address again sends a new link, and the old one is void. Only an owner invites an owner.",
      access: write,
      body: memberRequest,
      status: 201,
      answer: memberSchema,
    },
    ({ ctx, body }) => inviteMember(ctx, body),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/members/{memberId}",
      tag,
      summary: "Change a member's role",
      description: "It counts from their next request. The last owner stays one.",
      access: write,
      body: memberUpdateRequest,
      status: 200,
      answer: memberSchema,
    },
    ({ ctx, params, body }) => changeRole(ctx, { memberId: params.memberId, role: body.role }),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/members/{memberId}",
      tag,
      summary: "Remove a member, or withdraw an invitation",
      description: "It counts from their next request. The last owner stays.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => removeMember(ctx, params.memberId),
  );

  api.token(
    {
      method: "post",
      path: "/v1/invitations/read",
      tag,
      summary: "Read an invitation",
      description: "With the token from the mail's link. Says whether to sign in before accepting.",
      body: invitationRequest,
      status: 200,
      answer: invitationSchema,
    },
    ({ body }) => getInvitation(services, body.token),
  );

  api.token(
    {
      method: "post",
      path: "/v1/invitations/accept",
      tag,
      summary: "Accept an invitation",
      description:
        "Signed in with the invited address, or, where there is no account for it yet, with a `name` and a `password` for a new one; sign in with that afterwards.",
      body: acceptInvitationRequest,
      status: 200,
      answer: memberSchema,
    },
    ({ session, body, correlationId, ip }) => acceptInvitation(services, { ...body, session, correlationId, ip }),
  );
}
