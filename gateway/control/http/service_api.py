"""`ServiceApi`: asks a `Service` for a request that aiohttp has read."""

from aiohttp import web

from gateway.control.asker import Asker, Service
from gateway.control.http.request import MAX_BODY, address_of, read_body


class ServiceApi:
    """The route of a service.

    Args:
        service: Answers.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        return [web.post(self._service.path, self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        service, authorization = self._service, request.headers.getall("Authorization", ())
        asker = Asker(service.path, address_of(request), authorization)
        await service.admit(asker)
        answer = await service.answer(asker, await read_body(request, "application/json", MAX_BODY))
        return web.Response(body=answer, content_type="application/json", charset="utf-8")
